"""From what a step or an evaluation gave to metrics under their public names."""

from __future__ import annotations

from yxanul.model.config import ModelSettings
from yxanul.model.count import flops_per_token
from yxanul.monitor.metrics import StepFacts
from yxanul.train.trainer import StepReport


def step_facts(report: StepReport, model: ModelSettings) -> StepFacts:
    """Return what the recorder wants to know of a step."""
    phase = report.phase
    return StepFacts(
        loss=report.loss,
        learning_rate=report.lr,
        lr_by_role=report.lr_by_role,
        gradient_norm=report.gradient_norm,
        clip=report.clip,
        applied=report.applied,
        lr_scale=phase.lr_scale,
        phase=phase.index,
        rows=phase.rows,
        seq_len=phase.seq_len,
        num_targets=report.num_targets,
        tokens_seen=report.progress.tokens_seen,
        skipped_total=report.progress.skipped_steps,
        seconds=report.seconds,
        flops_per_token=flops_per_token(model, phase.seq_len).total,
    )
