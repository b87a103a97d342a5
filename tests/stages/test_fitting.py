"""What is found out about memory before the first step, and where it is kept."""

import json

import pytest
import torch

from recipes import write_tiny
from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.recipe import load_recipe
from yxanul.stages import measure
from yxanul.stages.data import prepare
from yxanul.stages.resume import reconcile_recipe
from yxanul.stages.runner import run_stages
from yxanul.stages.session import build_session


class Listening(SilentUi):
    def __init__(self):
        self.lines = []

    def warn(self, line):
        self.lines.append(line)

    def say(self, line):
        self.lines.append(line)


def opened(folder, overrides=(), ui=None):
    recipe, run = load_recipe(str(write_tiny(folder)), list(overrides)), RunFolder(folder / "run")
    ui = ui or SilentUi()
    reconcile_recipe(run, recipe, ui)
    prepare(run, recipe, ui)
    return build_session(run, recipe, ui, StopRequest())


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
    session = opened(tmp_path)  # 8 x 32 tokens, then 4 x 64: as many, in longer rows
    session.engine.loss = lambda batch, last=True: (_ for _ in ()).throw(
        torch.OutOfMemoryError("CUDA out of memory")
    )
    with pytest.raises(YxanulError, match=r"phase 1 .*4 rows of 64 tokens"):
        run_stages(session)
    assert session.progress.step == 0 and not session.run.checkpoints.exists()


def test_what_did_not_fit_in_mid_run_is_smaller_from_the_start_next_time(tmp_path):
    ui = Listening()
    overrides = ["stages.0.curriculum=[{seq_len: 32}]"]
    session = opened(tmp_path, overrides, ui)
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
    session = opened(tmp_path, ["stages.0.budget.steps=4", "train.checkpoint.every_steps=2"])
    session.stop.after_step = 2
    with pytest.raises(Interrupted, match="stopped after step 2"):
        run_stages(session)
    session.close()
    ledger = json.loads(session.run.ledger.read_text())
    ledger["stages"][0]["micro_rows"] = {"0": 2, "1": 2}
    session.run.ledger.write_text(json.dumps(ledger))
    session = opened(tmp_path, ["stages.0.budget.steps=4", *change])
    run_stages(session)
    session.close()
    assert stages_of(session)[0]["micro_rows"] == expected


def test_fp8_that_does_not_pay_is_declined_with_its_figures(tmp_path, monkeypatch):
    ui, seconds = Listening(), {"bf16": 0.0100, "fp8": 0.0098}
    monkeypatch.setattr(measure, "precision_candidates", lambda *_: ["bf16", "fp8"])
    monkeypatch.setattr(measure, "_seconds", lambda model, recipe, name: seconds[name])
    session = opened(tmp_path, ["train.precision=auto"], ui)
    assert session.engine.mixed_precision.precision == "bf16"
    assert any(line.startswith("fp8 declined: 1.02x the speed of bf16") for line in ui.lines)
    kept = json.loads(session.run.ledger.read_text())["decisions"]
    assert kept["precision_measured"]["seconds"] == seconds
    monkeypatch.setattr(measure, "_seconds", lambda *_: pytest.fail("measured twice"))
    session.close()
    assert opened(tmp_path, ["train.precision=auto"]).engine.mixed_precision.precision == "bf16"


def test_the_step_that_precisions_are_measured_by_is_that_of_the_largest_phase(tmp_path):
    session = opened(tmp_path, ["train.precision=bf16"])
    phase = measure._largest_phase(session.recipe)
    assert (phase.seq_len, phase.micro_rows) == (64, 4)
    assert measure._seconds(session.engine.mixed_precision.master_model, session.recipe, "fp32") > 0
