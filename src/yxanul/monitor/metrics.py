"""Metrics of a step, under stable names for dashboards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.base.figures import perplexity
from yxanul.monitor.memory import memory_metrics
from yxanul.monitor.rolling import Rolling

LOSS_WINDOW = 50
CLIP_WINDOW = 100
OUTLIER_STDS = 2.0


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
    skipped_total: int = 0
    """Updates skipped so far, including this one."""


class StepRecorder:
    """Computes metrics from facts; its windows are saved in checkpoints."""

    def __init__(self, peak_flops: float, device: str):
        """Initialize with the peak FLOP/s for MFU and the device ("cpu", "cuda") for memory."""
        self._peak_flops, self._device = peak_flops, device
        self._losses = Rolling(LOSS_WINDOW)
        self._clipped = Rolling(CLIP_WINDOW)

    def metrics(self, facts: StepFacts) -> dict[str, float]:
        """Return all metrics of a step by name."""
        return {
            **self._loss(facts),
            **self._optim(facts),
            **_speed(facts, self._peak_flops),
            **memory_metrics(self._device),
            **_data(facts),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the windows as plain data."""
        return {"losses": self._losses.to_list(), "clipped": self._clipped.to_list()}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        self._losses = Rolling(LOSS_WINDOW, plain["losses"])
        self._clipped = Rolling(CLIP_WINDOW, plain["clipped"])

    def _loss(self, facts: StepFacts) -> dict[str, float]:
        limit = self._losses.median + OUTLIER_STDS * self._losses.std
        if math.isfinite(facts.loss):
            self._losses.add(facts.loss)
        return {
            "train/loss": facts.loss,
            "train/perplexity": perplexity(facts.loss),
            "train/loss_median": self._losses.median,
            "train/loss_std": self._losses.std,
            "train/loss_outlier": float(facts.loss > limit),
        }

    def _optim(self, facts: StepFacts) -> dict[str, float]:
        after = clipped_norm(facts.gradient_norm, facts.clip)
        finite = math.isfinite(facts.loss) and math.isfinite(facts.gradient_norm)
        if facts.applied:
            self._clipped.add(float(after < facts.gradient_norm))
        return {
            "optim/learning_rate": facts.learning_rate,
            **{f"optim/learning_rate_{role}": lr for role, lr in facts.lr_by_role.items()},
            "optim/gradient_norm": facts.gradient_norm,
            "optim/gradient_norm_after_clip": after,
            "optim/clip_rate": self._clipped.mean if len(self._clipped) else 0.0,
            "optim/skipped": float(not facts.applied),
            "optim/skipped_outlier": float(not facts.applied and finite),
            "optim/skipped_updates": float(facts.skipped_total),
        }


def clipped_norm(norm: float, clip: float | None) -> float:
    """Return the gradient norm after clipping at `clip`; non-finite norms are not clipped."""
    return norm if clip is None or not math.isfinite(norm) else min(norm, clip)


def model_flops_utilization(
    tokens_per_second: float, flops_per_token: float, peak_flops: float
) -> float:
    """Return MFU: the model's FLOP/s as a share of the peak (PaLM, arXiv 2204.02311)."""
    return tokens_per_second * flops_per_token / peak_flops


def _speed(facts: StepFacts, peak_flops: float) -> dict[str, float]:
    total = sum(facts.seconds.values())
    tokens_per_second = facts.num_targets / total if total else 0.0
    mfu = model_flops_utilization(tokens_per_second, facts.flops_per_token, peak_flops)
    laps = ("data", "forward", "backward", "metrics", "optimizer")
    return {
        "perf/tokens_per_second": tokens_per_second,
        "perf/samples_per_second": facts.rows / total if total else 0.0,
        **{f"perf/{lap}_time": facts.seconds.get(lap, 0.0) for lap in laps},
        "perf/total_step_time": total,
        "perf/mfu": mfu,
    }


def _data(facts: StepFacts) -> dict[str, float]:
    clip = {} if facts.clip is None else {"curriculum/clip": facts.clip}
    return {
        "data/batch_size": facts.rows,
        "data/sequence_length": facts.seq_len,
        "data/actual_tokens": facts.num_targets,
        "data/padding_ratio": 1 - facts.num_targets / (facts.rows * facts.seq_len),
        "data/tokens_seen": facts.tokens_seen,
        "curriculum/phase": facts.phase,
        "curriculum/lr_scale": facts.lr_scale,
    } | clip
