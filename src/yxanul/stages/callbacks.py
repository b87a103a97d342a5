"""What happens beside a stage's training: records, evaluations, checkpoints, another plan."""

from __future__ import annotations

import math
from collections.abc import Mapping

from yxanul.base.files import write_text
from yxanul.base.metric_names import is_better
from yxanul.eval.score import named
from yxanul.generate.config import SampleSettings
from yxanul.stages.config import stage_optim
from yxanul.stages.cooldown import Cooldown
from yxanul.stages.ledger import Entry
from yxanul.stages.metrics import step_facts
from yxanul.stages.minutes import MinutesBudget
from yxanul.stages.outcome import continued
from yxanul.stages.saving import Saving
from yxanul.stages.scoring import Scorer
from yxanul.stages.session import Session
from yxanul.train.progress import Best
from yxanul.train.trainer import Callback, Changes, StepReport, Trainer


def stage_callbacks(session: Session, index: int, entry: Entry, scorer: Scorer) -> list[Callback]:
    """Return the callbacks of a stage in their order: a checkpoint comes after what it holds."""
    stage = session.recipe.stages[index]
    callbacks: list[Callback] = [Recording(session)]
    if stage.budget.minutes is not None:
        callbacks.append(MinutesBudget(session, stage, entry, stage.budget.minutes))
    callbacks += [Evaluation(session, scorer), Saving(session, index)]
    if stage_optim(session.recipe.optim, stage).schedule.name == "wsd":
        callbacks.append(Cooldown(session, entry))
    return callbacks


class Recording(Callback):
    """Hands the metrics of every step to the trackers, and says what the alerts find."""

    def __init__(self, session: Session):
        self._session = session

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Record the step."""
        session = self._session
        metrics = session.recorder.metrics(step_facts(report, session.model_settings))
        log(session, report.progress.step, metrics)
        if not session.startup.ended:
            session.startup.end("first step")
            session.ui.say(str(session.startup))


class Evaluation(Callback):
    """Now and then scores a sample of each domain's held-out text, and writes samples."""

    def __init__(self, session: Session, scorer: Scorer):
        self._session, self._scorer = session, scorer

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Evaluate where it is due, and at the end of the stage; return a new best."""
        done, step = report.progress.stage_step, report.progress.step
        if done != trainer.plan.total_steps and done % self._session.recipe.eval.every_steps:
            return None
        scores = self._scorer.score_sample(self._scorer.domains)
        metrics = named(scores)
        log(self._session, step, metrics)
        bits = ", ".join(f"{name} {score.bits_per_byte:.4f}" for name, score in scores.items())
        most = max(score.tokens for score in scores.values())
        self._session.ui.say(
            f"step {step}: bits per byte of a held-out sample ({most:,} tokens): {bits}"
        )
        self._write_samples(step)
        # A domain that this stage does not know yet decides nothing.
        metric, best = self._session.recipe.train.checkpoint.best, trainer.progress.best
        value = metrics.get(metric, math.nan)
        is_best = best is None or best.metric != metric or is_better(metric, value, best.value)
        return Changes(best=Best(step, value, metric)) if is_best and math.isfinite(value) else None

    def _write_samples(self, step: int) -> None:
        session, settings = self._session, self._session.recipe.eval
        sampling = SampleSettings(max_tokens=settings.sample_tokens, seed=session.recipe.seed)
        texts = continued(session, settings.sample_prompts, sampling)
        if texts:
            write_text(session.run.samples / f"step-{step:08}.txt", "\n\n".join(texts) + "\n")
            session.tracker.text(step, "samples", "\n\n".join(texts))


def log(session: Session, step: int, metrics: Mapping[str, float]) -> None:
    """Hand metrics to the trackers, and say what the alerts find in them."""
    session.tracker.log(step, metrics)
    alerts = session.watch.look(step, metrics)
    for alert in alerts if session.recipe.monitor.alerts else ():
        session.ui.warn(str(alert))
