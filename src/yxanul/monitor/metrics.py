"""Metrics of a step, under stable names for dashboards."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from yxanul.base.figures import perplexity
from yxanul.monitor.memory import GIB, memory_metrics
from yxanul.monitor.rolling import Rolling

LOSS_WINDOW = 50
CLIP_WINDOW = 100
SPEED_WINDOW = 50
GAP_WINDOW = 100
OUTLIER_STDS = 2.0
NOISE_SMOOTHING = 0.99
MICRO_BATCH = ("micro_batch/gradient_norm", "micro_batch/num_targets")
"""Names under which a step's first micro-batch is measured; they are not logged."""


@dataclass(frozen=True)
class StepFacts:
    """Facts about a finished step, the input to its metrics."""

    loss: float
    """Mean over the target tokens, nats."""
    learning_rate: float
    lr_by_role: Mapping[str, float]
    """Learning rate of each parameter group."""
    gradient_norm: float
    """Before clipping."""
    clip: float | None
    applied: bool
    """False if the update was skipped."""
    excused: bool
    """True if it was skipped because fp16 lowered its loss scale."""
    lr_scale: float
    phase: int
    rows: int
    seq_len: int
    num_targets: int
    tokens_seen: int
    seconds: Mapping[str, float]
    """Time by section: data, forward, backward, metrics, optimizer; they sum to the wall time."""
    flops_per_token: float
    """Training FLOPs per target token at this sequence length."""
    num_parameters: int
    tokens_left: int
    """Target tokens to the end of the stage."""
    stage_step: int
    """Steps of the stage so far, including this one."""
    forward_bytes: float
    """Memory that the largest forward pass has added at its peak."""
    skipped_total: int = 0
    """Updates skipped so far, including this one."""


class StepRecorder:
    """Computes metrics from facts; its windows are saved in checkpoints."""

    def __init__(self, peak_flops: float, device: str):
        """Initialize with the peak FLOP/s for MFU and the device ("cpu", "cuda") for memory."""
        self._peak_flops, self._device = peak_flops, device
        self._losses = Rolling(LOSS_WINDOW)
        self._clipped = Rolling(CLIP_WINDOW)
        self._speeds = Rolling(SPEED_WINDOW)  # of this process: not saved
        self._stage = StageSums()
        self._noise_scale = NoiseScale()

    def metrics(self, facts: StepFacts) -> dict[str, float]:
        """Return all metrics of a step by name."""
        if facts.stage_step == 1:
            self._stage = StageSums()
        self._stage.add(facts)
        return {
            **self._loss(facts),
            **self._optim(facts),
            **self._speed(facts),
            **memory_metrics(self._device),
            "memory/forward_delta_gb": facts.forward_bytes / GIB,
            **_data(facts),
        }

    def with_noise_scale(
        self, measured: Mapping[str, float], gradient_norm: float, num_targets: int
    ) -> dict[str, float]:
        """Replace the measurements of a step's first micro-batch by the gradient noise scale;
        `gradient_norm` and `num_targets` are those of the whole step."""
        metrics = dict(measured)
        norm, targets = (metrics.pop(name, 0.0) for name in MICRO_BATCH)
        if 0 < targets < num_targets and math.isfinite(norm + gradient_norm):
            share = targets / num_targets
            self._noise_scale.add(targets, norm / share, num_targets, gradient_norm)
            metrics["optim/gradient_noise_scale"] = self._noise_scale.tokens
        return metrics

    def stage_metrics(self, number: int, val: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics of the stage that has ended: the stage's number, from 1, and its
        validation metrics."""
        return self._stage.metrics(number, val)

    def to_dict(self) -> dict[str, Any]:
        """Return the windows and sums as plain data, without times."""
        return {
            "losses": list(self._losses),
            "clipped": list(self._clipped),
            "stage": self._stage.to_dict(),
            "noise_scale": asdict(self._noise_scale),
        }

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        self._losses = Rolling(LOSS_WINDOW, plain["losses"])
        self._clipped = Rolling(CLIP_WINDOW, plain["clipped"])
        if "stage" in plain:  # a checkpoint of version 0.1 has none
            self._stage = StageSums(**plain["stage"])
            self._noise_scale = NoiseScale(**plain["noise_scale"])

    def _loss(self, facts: StepFacts) -> dict[str, float]:
        limit = self._losses.median + OUTLIER_STDS * self._losses.std
        if math.isfinite(facts.loss):
            self._losses.append(facts.loss)
        return {
            "train/loss": facts.loss,
            "train/perplexity": perplexity(facts.loss),
            "train/loss_median": self._losses.median,
            "train/loss_std": self._losses.std,
            "train/loss_outlier": float(facts.loss > limit),
        }

    def _optim(self, facts: StepFacts) -> dict[str, float]:
        norm, is_finite = facts.gradient_norm, math.isfinite(facts.gradient_norm)
        after = norm if facts.clip is None or not is_finite else min(norm, facts.clip)
        if facts.applied:
            self._clipped.append(float(after < norm))
        return {
            "optim/learning_rate": facts.learning_rate,
            **{f"optim/learning_rate/{role}": lr for role, lr in facts.lr_by_role.items()},
            "optim/gradient_norm": norm,
            "optim/gradient_norm_after_clip": after,
            "optim/clip_rate": self._clipped.mean if len(self._clipped) else 0.0,
            "optim/skipped": float(not facts.applied),
            "optim/skipped_spike": float(
                not facts.applied and is_finite and math.isfinite(facts.loss)
            ),
            "optim/skipped_excused": float(facts.excused),
            "optim/skipped_updates": float(facts.skipped_total),
        }

    def _speed(self, facts: StepFacts) -> dict[str, float]:
        total = sum(facts.seconds.values())
        tokens_per_second = facts.num_targets / total if total else 0.0
        mfu = tokens_per_second * facts.flops_per_token / self._peak_flops  # PaLM, arXiv 2204.02311
        self._speeds.append(tokens_per_second)
        usual = self._speeds.median
        laps = ("data", "forward", "backward", "metrics", "optimizer")
        return {
            "perf/tokens_per_second": tokens_per_second,
            "perf/samples_per_second": facts.rows / total if total else 0.0,
            **{f"perf/{lap}_time": facts.seconds.get(lap, 0.0) for lap in laps},
            "perf/total_step_time": total,
            "perf/data_wait_share": facts.seconds.get("data", 0.0) / total if total else 0.0,
            "perf/seconds_left": facts.tokens_left / usual if usual else math.nan,
            "perf/mfu": mfu,
        }


@dataclass
class StageSums:
    """Sums over the steps of a stage, for the metrics of its end."""

    nats: float = 0.0
    scored: int = 0
    """Tokens of the steps whose loss was finite."""
    tokens: int = 0
    steps: int = 0
    learning_rate: float = 0.0
    losses: list[float] = field(default_factory=list)
    """The last 100."""
    timed: tuple[int, float] = (0, 0.0)
    """Tokens and seconds of this process."""

    def add(self, facts: StepFacts) -> None:
        """Add a step; losses that are not finite do not count."""
        tokens, seconds = self.timed
        self.timed = tokens + facts.num_targets, seconds + sum(facts.seconds.values())
        self.steps, self.learning_rate = self.steps + 1, facts.learning_rate
        self.tokens += facts.num_targets
        if math.isfinite(facts.loss):
            self.nats += facts.loss * facts.num_targets
            self.scored += facts.num_targets
            self.losses = [*self.losses, facts.loss][-GAP_WINDOW:]

    def metrics(self, number: int, val: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics of the stage's end."""
        (tokens, seconds), nan = self.timed, math.nan
        loss = val.get("val/loss", nan)
        return {
            "epoch/number": number,
            "epoch/avg_loss": self.nats / self.scored if self.scored else nan,
            "epoch/avg_tokens_per_second": tokens / seconds if seconds else nan,
            "epoch/total_tokens": self.tokens,
            "epoch/total_steps": self.steps,
            "epoch/learning_rate_end": self.learning_rate,
            "epoch/val_loss": loss,
            "epoch/val_perplexity": val.get("val/perplexity", nan),
            "epoch/train_val_gap": loss - statistics.fmean(self.losses) if self.losses else nan,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain data, without times."""
        plain = asdict(self)
        del plain["timed"]
        return plain


@dataclass
class NoiseScale:
    """Batch size at which averaging more gradients stops paying off.

    B = tr(S) / |G|^2, with S the covariance of a token's gradient and G the true gradient, from
    gradients of two batch sizes (McCandlish et al. 2018, arXiv 1812.06162, appendix A).
    """

    trace: float = 0.0
    signal: float = 0.0

    def add(self, small: float, small_norm: float, large: float, large_norm: float) -> None:
        """Add the norms of the mean gradients of a small and a larger batch of so many tokens.

        Both estimates are unbiased but noisy: they are smoothed before they are divided.
        """
        trace = (small_norm**2 - large_norm**2) / (1 / small - 1 / large)
        signal = (large * large_norm**2 - small * small_norm**2) / (large - small)
        self.trace += (1 - NOISE_SMOOTHING) * (trace - self.trace)
        self.signal += (1 - NOISE_SMOOTHING) * (signal - self.signal)

    @property
    def tokens(self) -> float:
        """The noise scale in tokens; NaN as long as it cannot be estimated."""
        known = self.trace > 0 and self.signal > 0
        return self.trace / self.signal if known else math.nan


def _data(facts: StepFacts) -> dict[str, float]:
    clip = {} if facts.clip is None else {"curriculum/clip": facts.clip}
    return {
        "data/batch_size": facts.rows,
        "data/sequence_length": facts.seq_len,
        "data/actual_tokens": facts.num_targets,
        "data/padding_ratio": 1 - facts.num_targets / (facts.rows * facts.seq_len),
        "data/tokens_seen": facts.tokens_seen,
        "data/chinchilla_multiple": facts.tokens_seen / (20 * facts.num_parameters),
        "curriculum/phase": facts.phase,
        "curriculum/lr_scale": facts.lr_scale,
    } | clip
