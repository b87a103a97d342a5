"""The record of every step: its metrics, to the trackers and the alerts."""

from __future__ import annotations

from collections.abc import Mapping

from yxanul.data.batches import Batch
from yxanul.model.count import count_parameters, flops_per_token
from yxanul.monitor.metrics import StepFacts
from yxanul.stages.session import Session
from yxanul.train.engine import Engine
from yxanul.train.probes import Probes
from yxanul.train.trainer import Callback, StepReport, Trainer


class Recording(Callback):
    """Logs the metrics of every step and reports alerts."""

    def __init__(self, session: Session):
        self._session = session
        self._probes = Probes(session.recipe.monitor.cadences)

    def after_first_backward(self, trainer: Trainer, batch: Batch, num_targets: int) -> None:
        """Measure the first of several micro-batches, if due at this step."""
        self._probes.after_first_backward(trainer.engine, batch, trainer.progress.step + 1)

    def before_update(self, trainer: Trainer, batch: Batch) -> None:
        """Measure what is due at this step."""
        self._probes.before_update(trainer.engine, batch, trainer.progress.step + 1)

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Log the step."""
        session = self._session
        metrics = session.recorder.metrics(step_facts(report, trainer))
        if report.progress.step == 1:
            metrics |= first_metrics(trainer.engine)
        measured, histograms = self._probes.after_update(trainer.engine, report.applied)
        metrics |= session.recorder.with_noise_scale(
            measured, report.gradient_norm, report.num_targets
        )
        log(session, report.progress.step, metrics)
        for name, histogram in histograms.items():
            session.tracker.histogram(report.progress.step, name, histogram)
        if not session.startup.ended:
            session.startup.end("first step")
            session.ui.say(str(session.startup))


def log(session: Session, step: int, metrics: Mapping[str, float]) -> None:
    """Send metrics to the trackers and report alerts."""
    session.tracker.log(step, metrics)
    alerts = session.watch.look(step, metrics)
    for alert in alerts if session.recipe.monitor.alerts else ():
        session.ui.warn(str(alert))


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
