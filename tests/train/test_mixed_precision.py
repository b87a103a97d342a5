"""The model in low precision: fp32 weights behind it, and fp16's scale of the loss."""

import copy
import json
import math

import pytest
import torch

from steps import (
    ROWS,
    Steps,
    change_gradients,
    counting,
    gather,
    gradients,
    make_model,
    same,
    weights_of,
)  # fmt: skip
from yxanul.base.errors import YxanulError
from yxanul.model.loss import LossConfig, linear_cross_entropy
from yxanul.train.mixed_precision.weights import CEILING, DTYPES, LossScale, MixedPrecision

LOW = ["bf16", "fp16", "fp8"]


@pytest.mark.parametrize("precision", LOW)
def test_gradients_reach_the_master_in_fp32_and_true_to_size(precision):
    ids, targets = counting(0)
    _, expected = gradients(MixedPrecision(make_model(), "fp32"), ids, targets)
    mixed_precision = MixedPrecision(make_model(), precision)
    _, found = gradients(mixed_precision, ids, targets)
    assert found.dtype == torch.float32
    assert all(weight.grad is None for weight in mixed_precision.model.parameters())
    error = float((found - expected).norm() / expected.norm())
    assert 0 < error < {"bf16": 0.02, "fp16": 0.003, "fp8": 0.15}[precision]
    assert float(found.norm()) == pytest.approx(float(expected.norm()), rel=0.02)


@pytest.mark.parametrize("precision", LOW)
def test_gradients_in_parts_add_up_to_those_of_the_whole(precision):
    ids, targets = counting(0)
    mixed_precision = MixedPrecision(make_model(), precision)
    whole_loss, whole = gradients(mixed_precision, ids, targets)
    for parts in (2, ROWS):
        loss, found = gradients(mixed_precision, ids, targets, parts)
        assert loss == pytest.approx(whole_loss, abs=2e-3)
        error = float((found - whole).norm() / whole.norm())
        assert error < {"bf16": 0.02, "fp16": 0.003, "fp8": 0.15}[precision]


@pytest.mark.parametrize("precision", LOW)
def test_parts_are_summed_in_fp32(precision):
    """Each part is a thousand times too small for what bf16 and fp16 could add to the sum."""
    mixed_precision = MixedPrecision(make_model(), precision)
    weights = list(
        zip(
            mixed_precision.master_model.parameters(),
            mixed_precision.model.parameters(),
            strict=True,
        )
    )
    for number in range(1001):
        for _, weight in weights:
            size = mixed_precision.loss_factor / 4 * (1.0 if number == 0 else 2.0**-12)
            weight.grad = torch.full_like(weight, size)
        mixed_precision.collect()
    assert all(torch.all(4 * master.grad == 1 + 1000 * 2.0**-12) for master, _ in weights)


@pytest.mark.parametrize("precision", LOW)
def test_updates_below_the_precision_of_the_model_are_not_lost(precision):
    """In weights of that precision, whose neighbours of 1 are a step away, 1 would stay 1."""
    step = torch.finfo(DTYPES[precision]).eps
    run = Steps(precision, rate=step / 40)
    gain, weak = run.mixed_precision.master_model.norm.gain, run.mixed_precision.model.norm.gain
    for _ in range(4):
        run.step()
    assert torch.all(gain != 1) and torch.all((gain - 1).abs() < step / 4)
    assert torch.all(weak == 1)
    for _ in range(40):
        run.step()
    assert torch.any(weak != 1)
    assert torch.equal(weak, gain.to(weak.dtype))


@pytest.mark.parametrize("precision", ["fp32", *LOW])
def test_counting_is_learnt(precision):
    run = Steps(precision)
    reports = [run.step() for _ in range(60)]
    assert reports[0][0] == pytest.approx(math.log(16), abs=0.2)
    assert reports[-1][0] < 0.1
    assert all(applied for _, applied, _ in reports)
    state = run.optimizer.state.values()
    assert all(value.dtype == torch.float32 for one in state for value in one.values())


def test_only_fp16_scales_its_loss():
    assert MixedPrecision(make_model(), "fp16").loss_factor == 65536
    for precision in ("fp32", "bf16", "fp8"):
        mixed_precision = MixedPrecision(make_model(), precision)
        assert (
            mixed_precision.scale,
            mixed_precision.loss_factor,
            mixed_precision.after_update(False),
        ) == (None, 1.0, False)


def test_small_gradients_vanish_in_fp16_unless_the_loss_is_scaled():
    ids, targets = counting(0)
    model = make_model()
    _, expected = gradients(MixedPrecision(model, "fp32"), ids, targets)
    tiny = 2.0**-24
    found = {}
    for value in (1.0, 65536.0):
        mixed_precision = MixedPrecision(make_model(), "fp16")
        mixed_precision.scale = LossScale(value)
        (
            mixed_precision.model.loss(ids, targets).total / targets.numel() * (tiny * value)
        ).backward()
        mixed_precision.collect()
        found[value] = (
            torch.cat([p.grad.flatten() for p in mixed_precision.master_model.parameters()]) / tiny
        )
    errors = {k: float((v - expected).norm() / expected.norm()) for k, v in found.items()}
    assert errors[1.0] > 0.5
    assert errors[65536.0] < 0.1


def test_the_scale_undone_changes_no_bit():
    mixed_precision = MixedPrecision(make_model(), "fp16")
    mixed_precision.scale = LossScale(256.0)
    weight, master = mixed_precision.model.norm.gain, mixed_precision.master_model.norm.gain
    gradient = torch.linspace(-0.9, 0.7, len(weight)).half()
    for times in (1, 2):
        weight.grad = gradient * 256
        mixed_precision.collect()
        assert torch.equal(master.grad, times * gradient.float())


def test_overflow_halves_the_scale_skips_the_update_and_it_grows_back():
    run = Steps("fp16")
    run.mixed_precision.scale = LossScale(CEILING, growth_steps=5)
    before, values = run.weights(), []
    while True:
        value = run.mixed_precision.loss_factor
        _, applied, answered = run.step()
        if applied:
            break
        values.append(value)
        assert answered
        assert run.mixed_precision.loss_factor == value / 2
        assert same(run.weights(), before)
        assert not run.optimizer.state
    assert values and values == [CEILING / 2**i for i in range(len(values))]
    assert not answered and not same(run.weights(), before)
    found = run.mixed_precision.loss_factor
    for _ in range(4):
        assert run.mixed_precision.loss_factor == found
        run.step()
    assert run.mixed_precision.loss_factor == 2 * found


def test_the_scale_has_a_floor_where_a_bad_step_counts_and_a_ceiling():
    mixed_precision = MixedPrecision(make_model(), "fp16")
    mixed_precision.scale = LossScale(4.0)
    assert [mixed_precision.after_update(False) for _ in range(4)] == [True, True, False, False]
    assert mixed_precision.scale.value == 1
    scale = LossScale(CEILING / 2, growth_steps=1)
    assert [(scale := scale.after_step(True)).value for _ in range(3)] == [CEILING] * 3


def test_a_bad_step_begins_the_count_anew():
    scale = LossScale(8.0, growth_steps=3)
    values = []
    for finite in (True, True, False, True, True, True, True, True, True):
        scale = scale.after_step(finite)
        values.append(scale.value)
    assert values == [8, 8, 4, 4, 4, 8, 8, 8, 16]


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_the_scale_resumes_exactly(cut):
    def begin():
        run = Steps("fp16")
        run.mixed_precision.scale = LossScale(2.0**21, growth_steps=2)
        return run

    straight = begin()
    for _ in range(cut):
        straight.step()
    plain = json.loads(json.dumps(straight.mixed_precision.scale.to_dict()))
    resumed = begin()
    resumed.mixed_precision.master_model.load_state_dict(straight.weights())
    resumed.optimizer.load_state_dict(copy.deepcopy(straight.optimizer.state_dict()))
    resumed.mixed_precision.refresh()
    resumed.mixed_precision.scale, resumed.done = LossScale(**plain), cut
    for run in (straight, resumed):
        for _ in range(10 - cut):
            run.step()
    assert resumed.mixed_precision.scale == straight.mixed_precision.scale
    assert same(resumed.weights(), straight.weights())


def test_the_heads_gradient_may_leave_the_range_of_fp16_until_it_is_scaled():
    """Many tokens with one target: their sum is beyond 65,504, its mean is not."""
    count, width = 32_768, 16
    x = torch.full((count, width), 4.0, dtype=torch.float16, requires_grad=True)
    weight = torch.zeros(16, width, dtype=torch.float16, requires_grad=True)
    targets = torch.zeros(count, dtype=torch.int64)
    loss = linear_cross_entropy(x, weight, targets, LossConfig(16))
    (loss.total / count).backward()
    assert weight.grad.dtype == torch.float16
    expected = torch.full((16, width), 4 / 16.0)
    expected[0] = 4 / 16.0 - 4
    torch.testing.assert_close(weight.grad.float(), expected, rtol=2e-3, atol=0)


def test_what_is_not_finite_reaches_the_master():
    mixed_precision = MixedPrecision(make_model(), "fp16")
    mixed_precision.scale = LossScale(CEILING)
    gather(mixed_precision, *counting(0))
    assert not all(bool(p.grad.isfinite().all()) for p in mixed_precision.master_model.parameters())


@pytest.mark.parametrize("precision", LOW)
def test_the_trainer_reports_the_true_norm_and_loss(make_trainer, precision):
    exact, weak = make_trainer().step(), make_trainer(precision=precision).step()
    assert weak.loss == pytest.approx(exact.loss, rel=0.01)
    assert weak.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.03)
    assert weak.applied and weak.loss != exact.loss


def test_an_overflow_that_lowers_the_scale_is_no_bad_step(make_trainer, make_phase):
    trainer = make_trainer(make_phase(num_steps=20), precision="fp16", max_skipped_steps=2)
    mixed_precision = trainer.engine.mixed_precision
    mixed_precision.scale = LossScale(CEILING)
    before, reports = weights_of(trainer), []
    while not reports or not reports[-1].applied:
        assert torch.equal(weights_of(trainer), before)
        reports.append(trainer.step())
    assert len(reports) > 3  # more than may be bad in a row
    assert all(report.progress.consecutive_skips == 0 for report in reports)
    assert not torch.equal(weights_of(trainer), before)
    assert mixed_precision.loss_factor == CEILING / 2 ** (len(reports) - 1)


def test_at_the_floor_of_the_scale_skips_stop_the_run(make_trainer, make_phase):
    trainer = make_trainer(make_phase(num_steps=40), precision="fp16", max_skipped_steps=3)
    mixed_precision = trainer.engine.mixed_precision
    mixed_precision.scale = LossScale(4.0)
    change_gradients(trainer, lambda gradient: gradient * math.nan)
    with pytest.raises(YxanulError, match="3 consecutive updates"):
        trainer.run()
    assert [report.progress.consecutive_skips for report in trainer.reports] == [0, 0, 1, 2, 3]
    assert mixed_precision.loss_factor == 1.0
