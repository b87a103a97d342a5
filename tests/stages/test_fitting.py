"""What is found out about memory before the first step, and where it is kept."""

import json

import pytest
import torch

from recipes import write_tiny
from sessions import RecordingUi, open_session, train
from yxanul.base.errors import YxanulError
from yxanul.recipe import load_recipe
from yxanul.stages import measure
from yxanul.stages.runner import run_stages


def recipe_with(folder, *overrides):
    return load_recipe(str(write_tiny(folder)), overrides)


def stages_of(session):
    return json.loads(session.run.ledger.read_text())["stages"]


def limited(session, tokens):
    """Let micro-batches of more tokens run out of memory."""
    loss = session.engine.loss

    def maybe(batch, last=True):
        if batch.ids_BT.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(batch, last)

    session.engine.loss = maybe


def test_the_largest_phase_is_tried_before_the_first_step(tmp_path):
    """8 x 32 tokens, then 4 x 64: as many, in longer rows."""
    session = open_session(recipe_with(tmp_path), tmp_path / "run")
    session.engine.loss = lambda batch, last=True: (_ for _ in ()).throw(
        torch.OutOfMemoryError("CUDA out of memory")
    )
    with pytest.raises(YxanulError, match=r"phase 1 .*4 rows of 64 tokens"):
        run_stages(session)
    assert session.progress.step == 0 and not session.run.checkpoints.exists()


def test_what_did_not_fit_in_mid_run_is_smaller_from_the_start_next_time(tmp_path):
    ui, recipe = RecordingUi(), recipe_with(tmp_path, "stages.0.curriculum=[{seq_len: 32}]")
    session = open_session(recipe, tmp_path / "run", ui)
    limited(session, 128)
    run_stages(session)
    session.close()
    assert [stage["micro_rows"] for stage in stages_of(session)] == [{"0": 4}, {"0": 2}]
    assert sum("out of memory" in line for line in ui.lines) == 2
    assert stages_of(session)[0]["status"] == "passed"


@pytest.mark.parametrize(
    ("change", "expected"),
    [((), {"0": 2, "1": 2}), (("train.micro_batch_size=3",), {"0": 3, "1": 3})],
)
def test_micro_batches_of_the_ledger_hold_for_what_they_were_found_for(tmp_path, change, expected):
    short, run = "stages.0.budget.steps=4", tmp_path / "run"
    session = train(recipe_with(tmp_path, short, "train.checkpoint.every_steps=2"), run, steps=2)
    ledger = json.loads(session.run.ledger.read_text())
    ledger["stages"][0]["micro_rows"] = {"0": 2, "1": 2}
    session.run.ledger.write_text(json.dumps(ledger))
    session = train(recipe_with(tmp_path, short, *change), run)
    assert stages_of(session)[0]["micro_rows"] == expected


def test_fp8_that_does_not_pay_is_declined_with_its_figures(tmp_path, monkeypatch):
    ui, seconds = RecordingUi(), {"bf16": 0.0100, "fp8": 0.0098}
    monkeypatch.setattr(measure, "precision_candidates", lambda *_: ["bf16", "fp8"])
    monkeypatch.setattr(measure, "_seconds", lambda model, recipe, name: seconds[name])
    recipe, run = recipe_with(tmp_path, "train.precision=auto"), tmp_path / "run"
    session = open_session(recipe, run, ui)
    assert session.engine.mixed_precision.precision == "bf16"
    assert any(line.startswith("fp8 declined: 1.02x the speed of bf16") for line in ui.lines)
    kept = json.loads(session.run.ledger.read_text())["decisions"]
    assert kept["precision_measured"]["seconds"] == seconds
    monkeypatch.setattr(measure, "_seconds", lambda *_: pytest.fail("measured twice"))
    session.close()
    assert open_session(recipe, run).engine.mixed_precision.precision == "bf16"


def test_the_step_that_precisions_are_measured_by_is_that_of_the_largest_phase(tmp_path):
    session = open_session(recipe_with(tmp_path, "train.precision=bf16"), tmp_path / "run")
    phase = measure._largest_phase(session.recipe)
    assert (phase.seq_len, phase.micro_rows) == (64, 4)
    assert measure._seconds(session.engine.mixed_precision.master_model, session.recipe, "fp32") > 0
