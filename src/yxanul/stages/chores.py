"""The chores of a stage: record every step; evaluate, write samples and save when it is time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.data.batches import WindowShape
from yxanul.eval.perplexity import score_domains, score_shards, window_shape
from yxanul.eval.score import Score
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.stages.config import stage_optim
from yxanul.stages.cooldown import cool_down_if_asked
from yxanul.stages.metrics import step_facts, validation_metrics
from yxanul.stages.minutes import MinutesBudget
from yxanul.stages.saving import Saving, longest_row
from yxanul.stages.session import Session
from yxanul.train.chores import Chore
from yxanul.train.progress import Best
from yxanul.train.trainer import StepReport, Trainer


class StageChores:
    """What a stage does beside training, bound to its session."""

    def __init__(self, session: Session, index: int):
        self.session = session
        stages = session.recipe.stages[: index + 1]
        self.domains = sorted({domain for stage in stages for domain in stage.domains()})
        self.shapes = {domain: self._shape(domain) for domain in self.domains}
        self.stage = stages[-1]
        self.schedule = stage_optim(session.recipe.optim, self.stage).schedule.name
        self.saving = Saving(session, index)

    def _shape(self, domain: str) -> WindowShape:
        """Return how a domain is scored: in every stage as in the first that trained it."""
        settings, stages = self.session.recipe.eval, self.session.recipe.stages
        first = next(stage for stage in stages if domain in stage.domains())
        return window_shape(settings.seq_len or longest_row(first), settings.stride)

    def table(self) -> list[Chore]:
        """Return the chores in their order: a checkpoint comes after what it is to hold."""
        minutes, entry = self.stage.budget.minutes, self.session.ledger.entry(self.stage.name)
        first: list[Chore] = []
        if minutes is not None and entry is not None:
            budget = MinutesBudget(self.session, self.stage, entry, minutes)
            first.append(Chore("minutes", 1, budget.after_step))
        return [
            *first,
            Chore("evaluate", self.session.recipe.eval.every_steps, self.evaluate),
            Chore("save", 1, self.saving.when_due),
        ] + [Chore("cool down", 1, self.cool_down)] * (self.schedule == "wsd")

    def record(self, report: StepReport) -> None:
        """Hand the metrics of a step to the trackers, and say what the alerts find."""
        session = self.session
        metrics = session.recorder.metrics(step_facts(report, session.model_settings))
        self._log(report.progress.step, metrics)
        if not session.startup.ended:
            session.startup.end("first step")
            session.ui.say(str(session.startup))

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.session.tracker.log(step, metrics)
        alerts = self.session.watch.look(step, metrics)
        for alert in alerts if self.session.recipe.monitor.alerts else ():
            self.session.ui.warn(str(alert))

    def cool_down(self, trainer: Trainer) -> None:
        """End the stage early where that was asked for."""
        entry = self.session.ledger.entry(self.stage.name)
        if entry is not None:
            cool_down_if_asked(self.session, entry, trainer)

    def score(self, domains: Collection[str]) -> dict[str, Score]:
        """Score all held-out text of the domains, with the arithmetic of the training."""
        held_out = {domain: self.session.held_out[domain] for domain in domains}
        with self.session.engine.shown() as model:
            return self._from_first(
                lambda: score_domains(model, held_out, self.shapes, self.session.ui)
            )

    def score_at_start(self, index: int, domains: Collection[str]) -> dict[str, Score]:
        """Score the domains before a stage's first step; at the start of a run, which should begin
        soon and where nothing is known yet, the sample of them that is scored during training."""
        knows = index or self.session.recipe.model.init_from is not None
        return self.score(domains) if knows else self._score_some(domains)

    def evaluate(self, trainer: Trainer) -> None:
        """Score a part of each domain's held-out text, write samples, note a new best."""
        session, step = self.session, trainer.progress.step
        scores = self._score_some(self.domains)
        metrics = validation_metrics(scores)
        self._log(step, metrics)
        # A domain that this stage does not know yet decides nothing.
        metric, best = session.recipe.train.checkpoint.best, trainer.progress.best
        value = metrics.get(metric, math.inf)
        is_better = best is None or best.metric != metric or value < best.value
        if math.isfinite(value) and is_better:
            trainer.progress = replace(trainer.progress, best=Best(step, value, metric))
        bits = ", ".join(f"{name} {score.bits_per_byte:.4f}" for name, score in scores.items())
        most = max(score.tokens for score in scores.values())
        session.ui.say(f"step {step}: bits per byte of a held-out sample ({most:,} tokens): {bits}")
        self._write_samples(step)

    def _score_some(self, domains: Collection[str]) -> dict[str, Score]:
        samples = {domain: self.session.samples[domain] for domain in domains}
        with self.session.engine.shown() as model:
            return self._from_first(
                lambda: {
                    domain: score_shards(model, one.shards, self.shapes[domain], one.documents)
                    for domain, one in samples.items()
                }
            )

    def _from_first(self, score: Callable[[], dict[str, Score]]) -> dict[str, Score]:
        """Score in the first process, for all of them."""
        world = self.session.world
        scores = score() if world.is_first else {}
        world.wait_for_first()
        return world.from_first(scores)

    def _write_samples(self, step: int) -> None:
        session, settings = self.session, self.session.recipe.eval
        sampling = SampleSettings(max_tokens=settings.sample_tokens, seed=session.recipe.seed)
        try:
            with session.engine.shown() as model:
                if not session.world.is_first:
                    return
                texts = [
                    prompt + complete(model, session.tokenizer, prompt, sampling)[0].text
                    for prompt in settings.sample_prompts
                ]
        except YxanulError as error:  # a sample is worth a warning, not a run
            session.ui.warn(f"no sample: {error}")
            return
        if texts:
            write_text(session.run.samples / f"step-{step:08}.txt", "\n\n".join(texts) + "\n")
            session.tracker.text(step, "samples", "\n\n".join(texts))
