"""Memory that runs out in the middle of a run costs a smaller micro-batch, not the run."""

import pytest
import torch

from sessions import RecordingUi
from steps import weights_of
from yxanul.base.errors import YxanulError


def short_of_memory(engine, rows, after=0):
    """Let micro-batches of more than `rows` fail, once `after` losses have been computed."""
    loss, seen = engine.loss, []

    def limited(batch, last=True):
        seen.append(len(batch.ids_BT))
        if len(seen) > after and len(batch.ids_BT) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(batch, last)

    engine.loss = limited
    return seen


@pytest.mark.parametrize(("precision", "after"), [("fp32", 0), ("bf16", 3)])
def test_the_step_is_repeated_with_half_the_rows(make_trainer, make_phase, precision, after):
    phases = make_phase(rows=8, micro_rows=8), make_phase(index=1, rows=8, first_step=5)
    straight = make_trainer(*phases, precision=precision)
    straight.run()
    ui = RecordingUi()
    trainer = make_trainer(*phases, precision=precision, ui=ui)
    seen = short_of_memory(trainer.engine, rows=2, after=after)
    trainer.run()
    assert [report.progress.step for report in trainer.reports] == list(range(1, 11))
    assert [report.num_targets for report in trainer.reports] == [64] * 10
    losses = [[r.loss for r in one.reports] for one in (straight, trainer)]
    tolerance = 1e-6 if precision == "fp32" else 5e-3
    assert losses[1] == pytest.approx(losses[0], abs=tolerance)
    assert trainer.progress.cursor == straight.progress.cursor
    assert max(seen[-4:]) == 2  # the second phase began with 4 rows, and was halved, too
    assert len(ui.warnings) == 3
    assert ui.warnings[0].startswith(f"step {after + 1} ran out of memory")
    assert "micro-batches of 4 rows" in ui.warnings[0] and "2 rows" in ui.warnings[1]
    assert trainer.progress.skipped_steps == 0


def test_nothing_of_the_failed_attempt_is_left(make_trainer, make_phase):
    """Memory runs out after some micro-batches have left their gradients."""
    phase = make_phase(rows=8, micro_rows=4)
    straight = make_trainer(make_phase(rows=8, micro_rows=2), precision="bf16")
    trainer = make_trainer(phase, precision="bf16")
    loss, calls = trainer.engine.loss, []

    def fails_at_the_second(batch, last=True):
        calls.append(last)
        if len(calls) == 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return loss(batch, last)

    trainer.engine.loss = fails_at_the_second
    trainer.step()
    straight.step()
    assert torch.equal(weights_of(trainer), weights_of(straight))


def test_one_row_that_does_not_fit_is_one_line(make_trainer, make_phase):
    trainer = make_trainer(make_phase(rows=4, micro_rows=4))
    short_of_memory(trainer.engine, rows=0)
    before = weights_of(trainer)
    with pytest.raises(YxanulError, match="gradient_checkpointing=full"):
        trainer.run()
    assert torch.equal(weights_of(trainer), before)


def test_other_errors_are_not_taken_for_it(make_trainer):
    trainer = make_trainer()

    def broken(batch, last=True):
        raise RuntimeError("shapes do not fit")

    trainer.engine.loss = broken
    with pytest.raises(RuntimeError, match="shapes"):
        trainer.run()
