import copy
import math
import signal

import pytest
import torch

from steps import VOCAB, StreamFeed, change_gradients, same, weights_of
from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import lr_multiplier
from yxanul.optim.table import OPTIMIZERS
from yxanul.train.curriculum import Plan
from yxanul.train.progress import Best
from yxanul.train.trainer import Callback, Changes


def norm_of(gradients):
    return math.sqrt(math.fsum(float(gradient.double().square().sum()) for gradient in gradients))


def before_update(trainer, look):
    """Call `look(gradients)` right before every update that is applied."""

    def hook(optimizer, args, kwargs):
        weights = trainer.engine.trained().values()
        look([weight.grad.clone() for weight in weights if weight.grad is not None])

    trainer.engine.optimizer.register_step_pre_hook(hook)


def first_step(trainer):
    """Do one step; return its report, and the gradients that were applied."""
    seen = []
    before_update(trainer, seen.append)
    report = trainer.step()
    (gradients,) = seen
    return report, gradients


def whole_batch_gradients(trainer, loader):
    """The mean loss over all targets in one piece, by autograd alone: the reference."""
    model = copy.deepcopy(trainer.engine.mixed_precision.master_model)
    phase = trainer.plan.phases[0]
    (batches, _) = trainer.fetch(phase)
    loader.batches.clear()
    ids, targets = (
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("ids_BT", "targets_BT")
    )
    logits = model.logits(model.hidden(ids))
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss.backward()
    return loss.item(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("rows", "micro_rows"), [(4, 1), (4, 2), (4, 4), (5, 2), (7, 3), (3, 2), (1, 1)]
)
@pytest.mark.parametrize("ignored", [False, True], ids=["full", "ragged"])
def test_accumulated_equals_whole(
    make_trainer, make_phase, random_stream, rows, micro_rows, ignored
):
    """Also where micro-batches have different numbers of rows, and of targets."""
    loader = StreamFeed(random_stream, lambda start, _: (start // 8) % 7 if ignored else 0)
    trainer = make_trainer(make_phase(rows=rows, micro_rows=micro_rows), loader=loader)
    loss, expected = whole_batch_gradients(trainer, loader)
    report, gradients = first_step(trainer)
    assert len(loader.batches) == math.ceil(rows / micro_rows)
    assert report.num_targets == sum(batch.num_targets for batch in loader.batches)
    assert report.loss == pytest.approx(loss, abs=1e-6)
    assert report.gradient_norm == pytest.approx(norm_of(expected), rel=1e-5)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_one_step_is_one_update_whatever_the_accumulation(make_trainer, make_phase):
    trainer, updates = make_trainer(make_phase(micro_rows=1)), []
    before_update(trainer, updates.append)
    trainer.run()
    assert len(updates) == len(trainer.reports) == 5
    assert trainer.progress.step == trainer.progress.stage_step == 5
    assert trainer.progress.tokens_seen == 5 * 4 * 8
    assert trainer.progress.cursor.positions == {"made": 5 * 4 * 8}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_skips_the_update(make_trainer, bad, precision):
    trainer = make_trainer(precision=precision)
    trainer.step()
    before = weights_of(trainer)
    state = copy.deepcopy(trainer.engine.optimizer.state_dict()["state"])
    hook = change_gradients(trainer, lambda gradient: gradient * bad)
    report = trainer.step()
    hook.remove()
    assert not report.applied and not math.isfinite(report.gradient_norm)
    assert math.isfinite(report.loss)
    assert torch.equal(weights_of(trainer), before)
    after = trainer.engine.optimizer.state_dict()["state"]
    assert all(same(after[i], state[i]) for i in state)
    assert all(weight.grad is None for weight in trainer.engine.trained().values())
    assert (trainer.progress.consecutive_skips, trainer.progress.step) == (1, 2)
    report = trainer.step()  # nothing of the bad step is left
    assert report.applied and math.isfinite(report.gradient_norm)
    assert trainer.progress.consecutive_skips == 0
    assert not torch.equal(weights_of(trainer), before)


def test_a_weight_that_is_not_finite_stops_the_run_after_so_many_steps(make_trainer, make_phase):
    trainer = make_trainer(make_phase(num_steps=50), max_skipped_steps=4)
    with torch.no_grad():
        list(trainer.engine.trained().values())[2].view(-1)[5] = math.nan
    before = weights_of(trainer)
    with pytest.raises(YxanulError, match=r"^4 consecutive updates") as caught:
        trainer.run()
    assert "optim.peak_lr" in caught.value.hint
    assert torch.equal(weights_of(trainer).nan_to_num(1e9), before.nan_to_num(1e9))
    assert [report.progress.consecutive_skips for report in trainer.reports] == [1, 2, 3, 4]
    assert not any(report.applied for report in trainer.reports)


def test_skips_that_are_not_in_a_row_stop_nothing(make_trainer, make_phase):
    trainer, count = make_trainer(make_phase(num_steps=12), max_skipped_steps=2), iter(range(100))
    change_gradients(trainer, lambda grad: grad * (math.nan if next(count) % 2 else 1.0))
    trainer.run()
    assert [report.applied for report in trainer.reports] == [True, False] * 6


def three_phases(make_phase):
    return (
        make_phase(num_steps=3, lr_scale=0.3, clip=0.05),
        make_phase(index=1, first_step=3, num_steps=4, lr_scale=0.6, clip=None, seq_len=16),
        make_phase(index=2, first_step=7, num_steps=3, lr_scale=1.0, clip=0.02, rows=2),
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_lr_scale_of_a_phase_holds_on_each_of_its_steps(make_trainer, make_phase, name):
    schedule = {"name": "cosine", "warmup_steps": 2}
    optim = OptimSettings(name=name, peak_lr=1e-2, schedule=schedule)
    trainer, rates = make_trainer(*three_phases(make_phase), optim=optim), []
    groups = trainer.engine.optimizer.param_groups
    before_update(trainer, lambda _: rates.append([group["lr"] for group in groups]))
    trainer.run()
    total = trainer.plan.total_tokens
    scales = [0.3] * 3 + [0.6] * 4 + [1.0] * 3
    for done, (scale, used, report) in enumerate(zip(scales, rates, trainer.reports, strict=True)):
        tokens = trainer.plan.tokens_after(done + 1)
        multiplier = scale * lr_multiplier(
            optim, step=done + 1, total_steps=10, tokens=tokens, total_tokens=total
        )
        assert report.learning_rate == pytest.approx(multiplier * optim.peak_lr)
        assert used == pytest.approx([multiplier * group["base_lr"] for group in groups])
        assert report.lr_by_role == dict(zip(("matrix", "embedding", "norm"), used, strict=True))
    assert rates[0][0] != rates[1][0]


def test_the_clip_of_a_phase_holds_on_each_of_its_steps(make_trainer, make_phase):
    trainer, norms = make_trainer(*three_phases(make_phase)), []
    before_update(trainer, lambda gradients: norms.append(norm_of(gradients)))
    trainer.run()
    clips = [0.05] * 3 + [None] * 4 + [0.02] * 3
    for clip, applied, report in zip(clips, norms, trainer.reports, strict=True):
        assert report.clip == clip
        assert report.gradient_norm > 0.1  # well above every clip: each of them bites
        assert applied == pytest.approx(clip or report.gradient_norm, rel=1e-5)


def test_the_norm_that_is_reported_is_the_one_before_clipping(
    make_trainer, make_phase, random_stream
):
    loader = StreamFeed(random_stream)
    trainer = make_trainer(make_phase(clip=1e-3), loader=loader)
    _, expected = whole_batch_gradients(trainer, loader)
    report, gradients = first_step(trainer)
    assert report.gradient_norm == pytest.approx(norm_of(expected), rel=1e-5)
    assert norm_of(gradients) == pytest.approx(1e-3, rel=1e-5)


def long_phase(make_phase, steps):
    return make_phase(num_steps=steps, rows=16, micro_rows=16, seq_len=32, clip=1.0)


def test_a_sequence_that_counts_is_learnt_and_the_next_number_is_predicted(
    make_trainer, make_phase, counting_stream
):
    loader = StreamFeed(counting_stream)
    trainer = make_trainer(long_phase(make_phase, 60), loader=loader)
    trainer.run()
    assert trainer.reports[0].loss > math.log(VOCAB) - 0.5  # not what it reads: that comes later
    assert trainer.reports[-1].loss < 0.2
    ids = torch.arange(3, 3 + 24).remainder(VOCAB)[None]
    with torch.no_grad():
        model = trainer.engine.mixed_precision.master_model
        predicted = model.logits(model.hidden(ids)).argmax(-1)
    assert predicted[0, 4:].tolist() == [(int(x) + 1) % VOCAB for x in ids[0, 4:]]


def test_chance_is_never_predicted(make_trainer, make_phase):
    """A loss below the entropy of the data would mean that targets leak."""
    trainer = make_trainer(long_phase(make_phase, 60))
    trainer.run()
    assert min(report.loss for report in trainer.reports) > math.log(VOCAB) - 0.05
    assert trainer.reports[-1].loss < math.log(VOCAB) + 0.1


def test_the_bf16_twin_is_the_master_cast_after_each_step(make_trainer, make_phase):
    trainer, masters = make_trainer(precision="bf16"), []
    mixed_precision = trainer.engine.mixed_precision
    assert mixed_precision.model is not mixed_precision.master_model

    def look(step):
        for weight, master in zip(
            mixed_precision.model.parameters(),
            mixed_precision.master_model.parameters(),
            strict=True,
        ):
            assert (weight.dtype, master.dtype) == (torch.bfloat16, torch.float32)
            assert torch.equal(weight, master.to(torch.bfloat16))
            assert weight.grad is None and master.grad is None
        masters.append(weights_of(trainer))

    trainer.callbacks = [Noted(look)]
    trainer.run()
    # the master is finer than what bf16 can hold: it was not cast down and up again
    assert not any(torch.equal(kept, kept.bfloat16().float()) for kept in masters)
    states = trainer.engine.optimizer.state.values()
    assert all(v.dtype == torch.float32 for state in states for v in state.values())


def test_gradients_of_a_bf16_twin_are_summed_in_fp32(make_trainer, make_phase):
    trainer = make_trainer(make_phase(rows=6, micro_rows=1), precision="bf16")
    parts = {}
    for name, weight in trainer.engine.mixed_precision.model.named_parameters():
        weight.register_hook(lambda grad, name=name: parts.setdefault(name, []).append(grad))
    _, gradients = first_step(trainer)
    names = [name for name, _ in trainer.engine.mixed_precision.master_model.named_parameters()]
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.dtype == torch.float32
        if len(parts[name]) == 6:  # a tied table has two gradients a micro-batch
            expected = torch.stack([part.float() for part in parts[name]]).sum(0)
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


def test_small_updates_are_not_lost_in_bf16(make_trainer, make_phase):
    """Without a master in fp32, weights near one would never move at this rate."""
    optim = OptimSettings(peak_lr=1e-4, weight_decay=0, schedule={"name": "constant"})
    trainer = make_trainer(make_phase(num_steps=30), precision="bf16", optim=optim)
    gain = next(weight for weight in trainer.engine.trained().values() if weight.ndim == 1)
    assert torch.all(gain == 1)
    trainer.run()
    assert torch.all(gain != 1)


class Noted(Callback):
    """Notes when it is called; `then` is done after a step, and gives what changes."""

    def __init__(self, then=lambda step: None):
        self.steps, self.stops, self.then = [], [], then

    def after_step(self, trainer, report):
        self.steps.append((report.progress.step, trainer.plan.total_steps))
        return self.then(report.progress.step)

    def on_stop(self, trainer):
        self.stops.append(trainer.progress.step)


def test_what_a_callback_changes_holds_for_those_after_it(make_trainer, make_phase):
    best, shorter = Best(2, 1.5), Plan((make_phase(num_steps=3),))
    cut = Noted(lambda step: Changes(plan=shorter, best=best) if step == 2 else None)
    first, later = Noted(), Noted()
    trainer = make_trainer(callbacks=[first, cut, later])
    trainer.run()
    assert first.steps == cut.steps == [(1, 5), (2, 5), (3, 3)]
    assert later.steps == [(1, 5), (2, 3), (3, 3)]
    assert trainer.progress.best == best and first.stops == []


def test_a_signal_lets_the_step_end_and_saves(make_trainer):
    stop = StopRequest()
    noted = Noted(lambda step: signal.raise_signal(signal.SIGTERM) if step == 2 else None)
    trainer = make_trainer(stop=stop, callbacks=[noted])
    with pytest.raises(Interrupted, match="stopped after step 2") as caught, stop.handled():
        trainer.run()
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert noted.stops == [2]


def test_a_finished_stage_is_not_trained_further(make_trainer):
    trainer = make_trainer()
    trainer.run()
    before = weights_of(trainer)
    trainer.run()
    assert torch.equal(weights_of(trainer), before) and trainer.progress.step == 5


def test_the_step_that_ends_a_warmup_in_tokens_has_the_peak(make_trainer, make_phase):
    """It does so also where the steps grow in the middle of the warm-up."""
    phases = (
        make_phase(num_steps=4, rows=1, micro_rows=1),
        make_phase(index=1, first_step=4, num_steps=4, rows=8, micro_rows=8),
    )
    schedule = {"name": "linear_to_zero", "warmup_tokens": 50}
    optim = OptimSettings(peak_lr=1e-2, schedule=schedule)
    trainer = make_trainer(*phases, optim=optim)
    trainer.run()  # 8 tokens a step, then 64: the fifth step goes from 32 to 96
    assert [report.learning_rate == 1e-2 for report in trainer.reports].index(True) == 4


def test_a_z_loss_is_trained_on_but_not_reported(make_trainer):
    reports, gradients = [], []
    for z_loss in (0.0, 0.1):
        trainer = make_trainer()
        settings = trainer.engine.mixed_precision.model.settings
        trainer.engine.mixed_precision.model.settings = settings.model_copy(
            update={"z_loss": z_loss}
        )
        report, found = first_step(trainer)
        reports.append(report.loss)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert reports[0] == reports[1]
    assert (gradients[0] - gradients[1]).norm() > 0.01 * gradients[0].norm()
