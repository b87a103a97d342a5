"""Training: optimizers, the search for the micro-batch, and resuming, on the device."""

import json

import pytest
import torch

from recipes import TINY, write_tiny
from running import call
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer
from yxanul.optim.table import OPTIMIZERS
from yxanul.stages.measure import describe_environment


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_equals_that_of_the_cpu(build, ids, name):
    models = [build(), build().cpu()]
    for model in models:
        settings, roles = OptimSettings(name=name, peak_lr=1e-3), model.parameter_roles()
        optimizer = build_optimizer(model.named_parameters(), roles, settings)
        for _ in range(3):
            rows = ids.to(model.embedding.tokens.device)
            model.loss(rows, rows.roll(-1, 1)).total.div(rows.numel()).backward()
            optimizer.step()
            optimizer.zero_grad()
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_is_the_same_run(tmp_path, gpu, precision):
    """On a CPU tests/stages has it."""
    recipe = write_tiny(tmp_path, TINY.replace("precision: fp32", f"precision: {precision}"))
    said = call(
        "verify-resume", recipe, "--steps", "6", "--stops", "1", "--out", tmp_path / "run", "--json"
    )
    assert said.code == 0, said.err


def test_the_largest_micro_batch_is_found_and_used(tmp_path, gpu):
    said = call(
        "run", write_tiny(tmp_path), "train.device=cuda", "--out", tmp_path / "run", "--json"
    )
    assert said.code == 0, said.err
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert all(rows >= 1 for rows in ledger["stages"][0]["micro_rows"].values())
    assert torch.cuda.get_device_name() in describe_environment()["gpus"]
