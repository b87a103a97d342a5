"""What the metrics of a step are made of."""

from __future__ import annotations

from yxanul.model.count import count_parameters, flops_per_token
from yxanul.monitor.metrics import StepFacts
from yxanul.train.engine import Engine
from yxanul.train.trainer import StepReport, Trainer


def first_metrics(engine: Engine) -> dict[str, float]:
    """Return the metrics of a model that are logged once."""
    weights = engine.mixed_precision.master_model.parameters()
    num_parameters = count_parameters(engine.settings)
    num_frozen = sum(weight.numel() for weight in weights if not weight.requires_grad)
    return {
        "model/num_parameters": num_parameters,
        "model/num_trainable": num_parameters - num_frozen,
        "fp8/enabled": float(engine.mixed_precision.precision == "fp8"),
    }


def step_facts(report: StepReport, trainer: Trainer) -> StepFacts:
    """Return the recorder's view of a step."""
    phase, plan, model = report.phase, trainer.plan, trainer.engine.settings
    stage_step = report.progress.stage_step
    return StepFacts(
        loss=report.loss,
        learning_rate=report.lr,
        lr_by_role=report.lr_by_role,
        gradient_norm=report.gradient_norm,
        clip=report.clip,
        applied=report.applied,
        excused=report.excused,
        lr_scale=phase.lr_scale,
        phase=phase.index,
        rows=phase.rows,
        seq_len=phase.seq_len,
        num_targets=report.num_targets,
        tokens_seen=report.progress.tokens_seen,
        skipped_total=report.progress.skipped_steps,
        seconds=report.seconds,
        flops_per_token=flops_per_token(model, phase.seq_len).total,
        num_parameters=count_parameters(model),
        tokens_left=plan.total_tokens - plan.tokens_after(stage_step),
        stage_step=stage_step,
        forward_bytes=report.forward_bytes,
    )
