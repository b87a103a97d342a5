import dataclasses
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from yxanul.base.figures import perplexity
from yxanul.monitor import MonitorSettings
from yxanul.monitor.metrics import (
    MICRO_BATCH,
    NoiseScale,
    StepFacts,
    StepRecorder,
)
from yxanul.monitor.rolling import Rolling

FACTS = StepFacts(
    loss=2.0,
    learning_rate=3e-4,
    lr_by_role={"matrix": 1.2e-3, "embedding": 3e-4, "norm": 3e-4},
    gradient_norm=4.0,
    clip=0.5,
    applied=True,
    excused=False,
    lr_scale=0.75,
    phase=3,
    rows=8,
    seq_len=100,
    num_targets=600,
    tokens_seen=12_345,
    seconds={"data": 0.1, "forward": 0.5, "backward": 1.0, "optimizer": 0.4},
    flops_per_token=1e6,
    num_parameters=1000,
    tokens_left=9_000,
    stage_step=2,
    forward_bytes=2**29,
)


def recorder():
    return StepRecorder(peak_flops=1e9, device="cpu")


def test_a_clip_is_only_logged_if_there_is_one():
    without_clip = recorder().metrics(dataclasses.replace(FACTS, clip=None))
    assert set(recorder().metrics(FACTS)) - set(without_clip) == {"curriculum/clip"}


def test_figures_of_a_step():
    metrics = recorder().metrics(FACTS)
    assert metrics["train/perplexity"] == math.exp(2.0)
    assert metrics["perf/total_step_time"] == pytest.approx(2.0)
    assert metrics["perf/tokens_per_second"] == pytest.approx(300.0)
    assert metrics["perf/samples_per_second"] == pytest.approx(4.0)
    assert metrics["perf/mfu"] == pytest.approx(300 * 1e6 / 1e9)
    assert metrics["data/padding_ratio"] == pytest.approx(0.25)
    assert metrics["data/tokens_seen"] == 12_345
    assert (metrics["curriculum/phase"], metrics["curriculum/lr_scale"]) == (3, 0.75)


def test_throughput_counts_targets_and_nothing_else():
    """Rows, micro-batches and padding do not raise it."""
    wider = dataclasses.replace(FACTS, rows=64, seq_len=1000)
    speed = recorder().metrics(wider)["perf/tokens_per_second"]
    assert speed == recorder().metrics(FACTS)["perf/tokens_per_second"]


@pytest.mark.parametrize(
    ("norm", "clip", "after"),
    [(4, 0.5, 0.5), (0.4, 0.5, 0.4), (4, None, 4), (math.inf, 1, math.inf)],
)
def test_the_norm_before_clipping_is_not_the_one_after(norm, clip, after):
    metrics = recorder().metrics(dataclasses.replace(FACTS, gradient_norm=norm, clip=clip))
    assert metrics["optim/gradient_norm"] == norm
    assert metrics["optim/gradient_norm_after_clip"] == after


def test_clip_rate_is_the_share_of_recent_applied_updates():
    rec = recorder()
    small = dataclasses.replace(FACTS, gradient_norm=0.1)
    skipped = dataclasses.replace(FACTS, gradient_norm=math.nan, applied=False)
    rates = [rec.metrics(f)["optim/clip_rate"] for f in (FACTS, small, small, skipped, FACTS)]
    assert rates == pytest.approx([1, 1 / 2, 1 / 3, 1 / 3, 2 / 4])
    for _ in range(100):
        last = rec.metrics(small)
    assert last["optim/clip_rate"] == 0.0


def test_an_outlier_is_judged_by_the_losses_before_it():
    rec = recorder()
    for i in range(50):
        assert rec.metrics(dataclasses.replace(FACTS, loss=2 + 0.01 * (i % 2)))["train/loss"] > 0
    assert rec.metrics(dataclasses.replace(FACTS, loss=2.01))["train/loss_outlier"] == 0
    assert rec.metrics(dataclasses.replace(FACTS, loss=2.5))["train/loss_outlier"] == 1


def test_a_loss_that_is_not_finite_stays_out_of_the_window():
    rec = recorder()
    rec.metrics(FACTS)
    metrics = rec.metrics(dataclasses.replace(FACTS, loss=math.nan, applied=False))
    assert math.isnan(metrics["train/loss"]) and math.isnan(metrics["train/perplexity"])
    assert metrics["train/loss_median"] == 2.0
    assert metrics["optim/skipped"] == 1.0


def test_a_resumed_recorder_goes_on_exactly():
    straight, first, second = recorder(), recorder(), recorder()
    steps = [
        dataclasses.replace(FACTS, loss=3 + math.sin(i), gradient_norm=i % 3) for i in range(140)
    ]
    wanted = [straight.metrics(facts) for facts in steps]
    for facts in steps[:75]:
        first.metrics(facts)
    second.load(json.loads(json.dumps(first.to_dict())))
    names = [name for name in recorder().metrics(FACTS) if not name.startswith("memory")]
    for facts, want in zip(steps[75:], wanted[75:], strict=True):
        got = second.metrics(facts)
        assert {name: got[name] for name in names} == {name: want[name] for name in names}


def test_the_noise_scale_of_known_noise():
    """Gradients of 10 numbers that are each (1, 2, ...) plus noise of covariance 400 per token."""
    generator, scale = np.random.default_rng(3), NoiseScale()
    true = np.arange(1.0, 11.0)
    for _ in range(3000):
        small, more = generator.normal(size=(2, 10))
        small = true + 20 * small / math.sqrt(8)
        large = small / 4 + 3 / 4 * (true + 20 * more / math.sqrt(24))  # of 8 tokens and 24 others
        scale.add(8, np.linalg.norm(small), 32, np.linalg.norm(large))
    assert scale.tokens == pytest.approx(10 * 400 / (true @ true), rel=0.15)


def test_a_noise_scale_needs_two_sizes_and_finite_gradients():
    rec, measured = recorder(), dict(zip(MICRO_BATCH, (1.5, 200.0), strict=True))
    assert rec.with_noise_scale({"a/b": 1.0}, 4.0, 600) == {"a/b": 1.0}
    assert rec.with_noise_scale(measured, math.nan, 600) == {}
    assert rec.with_noise_scale(measured, 4.0, 200) == {}
    assert math.isnan(NoiseScale().tokens)
    (value,) = rec.with_noise_scale(measured, 4.0, 600).values()
    small, large = (1.5 * 3) ** 2, 4.0**2
    wanted = ((small - large) / (1 / 200 - 1 / 600)) / ((600 * large - 200 * small) / 400)
    assert value == pytest.approx(wanted)


def test_the_end_of_a_stage():
    rec = recorder()
    for step, loss in enumerate([9.0, 3.0, math.nan, 2.0], start=1):
        tokens = 100 * step
        facts = dataclasses.replace(FACTS, loss=loss, num_targets=tokens, stage_step=step)
        rec.metrics(facts)
    metrics = rec.stage_metrics(2, {"val/loss": 4.0, "val/perplexity": math.exp(4.0)})
    assert metrics.pop("epoch/avg_tokens_per_second") == pytest.approx(1000 / 8.0)
    assert metrics.pop("epoch/train_val_gap") == pytest.approx(4.0 - 14 / 3)
    assert metrics == {
        "epoch/number": 2,
        "epoch/avg_loss": (900 + 600 + 800) / 700,
        "epoch/total_tokens": 1000,
        "epoch/total_steps": 4,
        "epoch/learning_rate_end": 3e-4,
        "epoch/val_loss": 4.0,
        "epoch/val_perplexity": math.exp(4.0),
    }
    rec.metrics(dataclasses.replace(FACTS, stage_step=1))
    assert rec.stage_metrics(3, {})["epoch/total_steps"] == 1


def test_seconds_left_follow_the_usual_speed():
    rec = recorder()
    slow = dataclasses.replace(FACTS, seconds={"forward": 100.0})
    lines = [rec.metrics(facts) for facts in (FACTS, FACTS, slow, FACTS)]
    assert [line["perf/seconds_left"] for line in lines[1:]] == pytest.approx([30.0] * 3)
    assert lines[0]["perf/data_wait_share"] == pytest.approx(0.05)
    assert lines[0]["data/chinchilla_multiple"] == pytest.approx(12_345 / 20_000)
    assert lines[0]["memory/forward_delta_gb"] == 0.5


def test_perplexity_never_raises():
    assert perplexity(0.0) == 1.0
    assert perplexity(1e4) == math.inf
    assert math.isnan(perplexity(math.nan))


BALLAST = """
import json
from yxanul.monitor.memory import added_memory, memory_metrics

before = memory_metrics("cpu")
with added_memory("cpu") as added:
    ballast = bytearray(200 * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    print(json.dumps([before, memory_metrics("cpu"), added() / 2**20]))
"""


def test_host_memory_is_that_of_the_process():
    """In a process of its own: elsewhere, what other tests left may be freed in between."""
    result = subprocess.run([sys.executable, "-c", BALLAST], capture_output=True, text=True)
    before, after, added = json.loads(result.stdout)
    assert added == pytest.approx(200, abs=10)
    assert 0.001 < before["memory/allocated_gb"] <= before["memory/max_allocated_gb"] + 0.01
    assert after["memory/allocated_gb"] - before["memory/allocated_gb"] > 0.15
    assert after["memory/max_allocated_gb"] - before["memory/max_allocated_gb"] > 0.15


def test_rolling_window():
    window = Rolling(3, [9.0, 1.0])
    for value in (2.0, 6.0):
        window.append(value)
    assert list(window) == [1.0, 2.0, 6.0]
    assert (window.mean, window.median) == (3.0, 2.0)
    assert window.std == pytest.approx(statistics.stdev([1, 2, 6]))
    assert Rolling(3, [4.0]).std == 0
    assert math.isnan(Rolling(3).median) and math.isnan(Rolling(3).mean)


def test_settings():
    assert MonitorSettings().trackers == ("jsonl",)
    with pytest.raises(ValueError, match="each tracker only once"):
        MonitorSettings(trackers=("jsonl", "jsonl"))
    with pytest.raises(ValueError, match="'jsonl', 'tensorboard' or 'wandb'"):
        MonitorSettings.model_validate({"trackers": ["csv"]})


MEASURING = ("peak_flops", "sums", "histograms", "weights", "forward_pass")


def test_all_but_what_measures_loads_without_torch():
    source = Path(__file__).resolve().parents[2] / "src" / "yxanul" / "monitor"
    modules = [
        ".".join(("yxanul", "monitor", *path.relative_to(source).with_suffix("").parts))
        for path in source.rglob("*.py")
        if path.stem not in {"__init__", *MEASURING}
    ]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
