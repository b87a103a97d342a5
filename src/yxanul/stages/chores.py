"""The chores of a stage: record every step; evaluate, write samples and save when it is time."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.checkpoint.keep import read_best, rotate, write_best
from yxanul.checkpoint.write import write_checkpoint
from yxanul.data.batches import WindowShape
from yxanul.eval.perplexity import score_domains, score_shards, window_shape
from yxanul.eval.score import Score
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.optim.state import optimizer_tensors
from yxanul.stages.config import StageSettings
from yxanul.stages.metrics import step_facts, validation_metrics
from yxanul.stages.preparation import starts_early
from yxanul.stages.session import BEST_METRIC, Session
from yxanul.train.chores import Chore
from yxanul.train.progress import Best
from yxanul.train.trainer import StepReport, Trainer


class StageChores:
    """What a stage does beside training, bound to its session."""

    def __init__(self, session: Session, index: int):
        self.session = session
        stages = session.recipe.stages[: index + 1]
        self.domains = sorted({domain for stage in stages for domain in stage.domains()})
        self.seq_len = max(map(longest_row, stages))
        self.shapes = {domain: self._shape(domain) for domain in self.domains}
        self._saved_at = time.monotonic()

    def _shape(self, domain: str) -> WindowShape:
        """Return how a domain is scored: in every stage as in the first that trained it."""
        settings, stages = self.session.recipe.eval, self.session.recipe.stages
        first = next(stage for stage in stages if domain in stage.domains())
        return window_shape(settings.seq_len or longest_row(first), settings.stride)

    def table(self) -> list[Chore]:
        """Return the chores in their order: a checkpoint comes after what it is to hold."""
        return [
            Chore("evaluate", self.session.recipe.eval.every_steps, self.evaluate),
            Chore("save", 1, self.save_when_due),
        ]

    def record(self, report: StepReport) -> None:
        """Hand the metrics of a step to the trackers, and say what the alerts find."""
        session = self.session
        metrics = session.recorder.metrics(step_facts(report, session.twin.master.settings))
        self._log(report.progress.step, metrics)

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.session.tracker.log(step, metrics)
        alerts = self.session.watch.look(step, metrics)
        for alert in alerts if self.session.recipe.monitor.alerts else ():
            self.session.ui.warn(str(alert))

    def score(self, domains: Collection[str]) -> dict[str, Score]:
        """Score all held-out text of the domains, with the arithmetic of the training."""
        held_out = {domain: self.session.held_out[domain] for domain in domains}
        with self.session.shown():
            return score_domains(self.session.twin.model, held_out, self.shapes, self.session.ui)

    def score_at_start(self, index: int, domains: Collection[str]) -> dict[str, Score]:
        """Score the domains before the first step. A run that may begin before all text is there
        scores only the beginning of it, whether or not the rest has come by now."""
        if index or not starts_early(self.session.recipe):
            return self.score(domains)
        return self._score_some(domains)

    def evaluate(self, trainer: Trainer) -> None:
        """Score a part of each domain's held-out text, write samples, note a new best."""
        session, step = self.session, trainer.progress.step
        scores = self._score_some(self.domains)
        metrics = validation_metrics(scores)
        self._log(step, metrics)
        best, value = trainer.progress.best, metrics[BEST_METRIC]
        if math.isfinite(value) and (best is None or value < best.value):
            trainer.progress = replace(trainer.progress, best=Best(step, value))
        bits = ", ".join(f"{name} {score.bits_per_byte:.4f}" for name, score in scores.items())
        most = max(score.tokens for score in scores.values())
        session.ui.say(f"step {step}: bits per byte of a held-out sample ({most:,} tokens): {bits}")
        self._write_samples(step)

    def _score_some(self, domains: Collection[str]) -> dict[str, Score]:
        scores: dict[str, Score] = {}
        with self.session.shown():
            for domain in domains:
                sample, shape = self.session.samples[domain], self.shapes[domain]
                model = self.session.twin.model
                scores[domain] = score_shards(model, sample.shards, shape, sample.documents)
        return scores

    def _write_samples(self, step: int) -> None:
        session, settings = self.session, self.session.recipe.eval
        sampling = SampleSettings(max_tokens=settings.sample_tokens, seed=session.recipe.seed)
        try:
            with session.shown():
                model, tokenizer = session.twin.model, session.tokenizer
                texts = [
                    prompt + complete(model, tokenizer, prompt, sampling)[0].text
                    for prompt in settings.sample_prompts
                ]
        except YxanulError as error:  # a sample is worth a warning, not a run
            session.ui.warn(f"no sample: {error}")
            return
        if texts:
            write_text(session.run.samples / f"step-{step:08}.txt", "\n\n".join(texts) + "\n")
            session.tracker.text(step, "samples", "\n\n".join(texts))

    def save_when_due(self, trainer: Trainer) -> None:
        """Save at the cadence of the recipe, at the end of the stage, and when it is the best."""
        settings, progress = self.session.recipe.train.checkpoint, trainer.progress
        minutes = (time.monotonic() - self._saved_at) / 60
        best = progress.best
        if (
            (settings.every_steps and progress.stage_step % settings.every_steps == 0)
            or (settings.every_minutes and minutes >= settings.every_minutes)
            or progress.stage_step == trainer.plan.total_steps
            or (best is not None and best.step == progress.step)
        ):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint with all that the run needs to go on, and drop old ones."""
        session, progress = self.session, trainer.progress
        tensors, plain = optimizer_tensors(trainer.optimizer)
        state = {
            "progress": progress.to_dict(),
            "model": session.twin.master.settings.model_dump(mode="json"),
            "tokenizer": session.tokenizer.digest,
            "seq_len": self.seq_len,
            "data_folder": session.recipe.data.folder,
            "optimizer": plain,
            "recorder": session.recorder.to_dict(),
            "watch": session.watch.to_dict(),
        }
        model = {name: value.detach() for name, value in session.twin.master.state_dict().items()}
        folder, best = session.run.checkpoints, progress.best
        files = {"model": model, "optimizer": tensors}
        if session.ema is not None:
            files["ema"] = session.ema.tensors(session.twin.master)
            state["ema_updates"] = session.ema.num_updates
        write_checkpoint(folder, progress.step, files, state)
        if best is not None:
            write_best(session.run.path, best.step, BEST_METRIC, best.value)
        named = read_best(session.run.path)  # of the stage before, until this one has its own
        keep = session.recipe.train.checkpoint.keep
        rotate(folder, keep=keep, best=named.step if named else None)
        self._saved_at = time.monotonic()


def longest_row(stage: StageSettings) -> int:
    """Return the longest sequence that a stage trains."""
    return max(phase.seq_len for phase in stage.curriculum)
