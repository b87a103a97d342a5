"""Callbacks of a stage: metrics, evaluation, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar, cast

from yxanul.base.files import expand_home, write_text
from yxanul.base.metric_names import is_better
from yxanul.base.ui import SilentUi, Ui
from yxanul.checkpoint.keep import Cadence, read_best, rotate, write_best
from yxanul.data.batches import Batch, WindowShape
from yxanul.eval.cached_model import CachedModel
from yxanul.eval.perplexity import score_domains, score_shards, window_shape
from yxanul.eval.run_tasks import (
    ALL_TASKS,
    PreparedTask,
    TaskMetrics,
    TaskOptions,
    described,
    named_results,
    prepare_task,
)
from yxanul.eval.score import Score, mix_metrics, named
from yxanul.eval.task_limit import TaskLimit
from yxanul.generate.config import SampleSettings
from yxanul.model.language_model import LanguageModel
from yxanul.optim.table import usual_lr
from yxanul.recipe.advice import advice_values
from yxanul.stages.config import longest_row, stage_optim
from yxanul.stages.ledger import Entry
from yxanul.stages.replan import Cooldown, MinutesBudget
from yxanul.stages.session import Session
from yxanul.stages.summary import continued
from yxanul.train.curriculum import Plan
from yxanul.train.micro_batch import micro_rows_of
from yxanul.train.probes import Probes, first_metrics, future_leak
from yxanul.train.progress import Best
from yxanul.train.trainer import Callback, Changes, StepReport, Trainer

Metrics = Mapping[str, float]
Result = TypeVar("Result")


def stage_callbacks(
    session: Session, index: int, plan: Plan, entry: Entry, scorer: Scorer
) -> list[Callback]:
    """Return the callbacks of a stage; checkpoints come after the callbacks whose state they
    save."""
    stage = session.recipe.stages[index]
    callbacks: list[Callback] = [MetricsLogger(session, index, entry)]
    if stage.budget.minutes is not None:
        callbacks.append(MinutesBudget(session, stage, entry, plan))
    callbacks += [Evaluation(session, index, scorer), TaskEvaluation(session, scorer)]
    callbacks.append(CheckpointSaver(session, index))
    if stage_optim(session.recipe.optim, stage).schedule.name == "wsd":
        callbacks.append(Cooldown(session, entry))
    return callbacks


class MetricsLogger(Callback):
    """Logs the metrics of every step and reports alerts."""

    def __init__(self, session: Session, index: int, entry: Entry):
        self._session, self._index, self._entry = session, index, entry
        session.alerts.advice = advice_values(session.recipe, index)
        self._probes = Probes(session.recipe.monitor.cadences)

    def after_first_backward(self, trainer: Trainer, batch: Batch, num_targets: int) -> None:
        """Measure the first of several micro-batches, if due at this step."""
        self._probes.after_first_backward(trainer.engine, batch, trainer.progress.step + 1)

    def before_update(self, trainer: Trainer, batch: Batch) -> None:
        """Measure what is due at this step."""
        self._probes.before_update(trainer.engine, batch, trainer.progress.step + 1)

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Log the step; return what alerts ask for."""
        session = self._session
        metrics = session.recorder.metrics(report)
        if report.progress.step == 1:
            metrics |= first_metrics(trainer.engine)
        measured, histograms = self._probes.after_update(trainer.engine, report.applied)
        metrics |= session.recorder.with_noise_scale(
            measured, report.gradient_norm, report.num_targets
        )
        metrics |= session.alerts.batches.metrics()
        metrics |= alert_inputs(session, self._index, self._entry, report)
        changes = session.log(report.progress.step, metrics)
        for name, histogram in histograms.items():
            session.tracker.histogram(report.progress.step, name, histogram)
        if not session.startup.ended:
            session.startup.end("first step")
            session.ui.say(str(session.startup))
        return changes


def alert_inputs(
    session: Session, index: int, entry: Entry, report: StepReport
) -> dict[str, float]:
    """Return the metrics of a step's stage that the rules of alerts read."""
    progress, data = report.progress, session.data
    done, positions = progress.stage_step - 1, progress.cursor.positions
    metrics: dict[str, float] = {
        "curriculum/stage": index,
        "curriculum/attempt": sum(a.step <= done for a in (*entry.actions, *entry.rollbacks)),
        "data/epochs": max(data.orders[name].epochs_before(at) for name, at in positions.items()),
    }
    if done == 0:
        domains = session.recipe.stages[index].domains()
        optim = stage_optim(session.recipe.optim, session.recipe.stages[index])
        metrics["optim/usual_lr"] = usual_lr(optim.name, session.engine.settings.width)
        metrics |= future_leak(session.engine, report.seq_len)
        metrics["model/vocab_size"] = session.engine.settings.known_vocab_size
        metrics["model/from_scratch"] = float(index == 0 and session.recipe.model.init_from is None)
        metrics["data/synthetic"] = float(
            any(data.held_out[domain].synthetic for domain in domains)
        )
    return metrics


class Evaluation(Callback):
    """Periodically scores a sample of each domain's held-out text and generates samples."""

    def __init__(self, session: Session, index: int, scorer: Scorer):
        self._session, self._number, self._scorer = session, index + 1, scorer

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Evaluate every `eval.every_steps` and at the end of the stage; return a new best."""
        done, step = report.progress.stage_step, report.progress.step
        if done != trainer.plan.total_steps and done % self._session.recipe.eval.every_steps:
            return None
        scores = self._scorer.score_sample(self._scorer.domains)
        metrics = named(scores)
        shown = dict(metrics)
        if done == trainer.plan.total_steps:
            shown |= self._session.recorder.stage_metrics(self._number, metrics)
        shown |= mix_metrics(scores, report.mix)
        changes = self._session.log(step, shown)
        bits = ", ".join(f"{name} {score.bits_per_byte:.4f}" for name, score in scores.items())
        most = max(score.tokens for score in scores.values())
        self._session.ui.say(
            f"step {step}: bits per byte on held-out samples (up to {most:,} tokens): {bits}"
        )
        self._write_samples(step)
        return replace(changes, best=new_best(self._session, trainer, metrics))

    def _write_samples(self, step: int) -> None:
        session, settings = self._session, self._session.recipe.eval
        sampling = SampleSettings(max_tokens=settings.sample_tokens, seed=session.recipe.seed)
        texts = continued(session, settings.sample_prompts, sampling)
        if texts:
            write_text(session.run.samples / f"step-{step:08}.txt", "\n\n".join(texts) + "\n")
            session.tracker.text(step, "samples", "\n\n".join(texts))


class TaskEvaluation(Callback):
    """Evaluates the recipe's tasks at their steps, within a share of the time; gates do so at the
    end of a stage."""

    def __init__(self, session: Session, scorer: Scorer):
        self._session, self._scorer = session, scorer
        tasks = session.recipe.eval.tasks
        self._every = {task.name: task.every_steps for task in tasks if task.every_steps}
        self._share = session.recipe.eval.max_share
        self._began, self._spent = perf_counter(), 0.0
        self._seconds: dict[str, float] = {}
        """Duration of the last evaluation by task."""
        self._pending: set[str] = set()
        """Tasks that are due and have to wait."""
        self._announced: set[str] = set()

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Evaluate the tasks that are due; return a new best."""
        done = report.progress.stage_step
        if not self._every or done == trainer.plan.total_steps:
            return None
        self._pending |= {name for name, every in self._every.items() if not done % every}
        due = [name for name in self._every if name in self._pending and self._has_time(name)]
        due = self._session.world.broadcast(due)
        metrics: dict[str, float] = {}
        for name in due:
            began = perf_counter()
            # The first time it gets its share of the time only; cut short, it is estimated.
            spare = self._share * (began - self._began) - self._spent
            most = math.inf if name in self._seconds else max(1.0, spare)
            limit = TaskLimit(self._session.stop, most)
            measured = self._scorer.score_tasks([name], ui=limit)[0]
            seconds = perf_counter() - began
            self._spent += seconds
            self._seconds[name] = seconds if measured else limit.estimate(seconds)
            if measured:
                self._pending.discard(name)
            metrics |= measured
        if not metrics:
            return None
        share = self._spent / (perf_counter() - self._began)
        step = report.progress.step
        changes = self._session.log(step, metrics | {"perf/task_share": share})
        self._session.ui.say(f"step {step}: {described(metrics)} ({share:.1%} of the time)")
        return replace(changes, best=new_best(self._session, trainer, metrics))

    def _has_time(self, name: str) -> bool:
        """Whether evaluating a task takes, with what was spent, at most the share of the time."""
        seconds = self._seconds.get(name, 0.0)
        elapsed = perf_counter() - self._began + seconds
        if not seconds or self._spent + seconds <= self._share * elapsed:
            return True
        if name not in self._announced:
            self._announced.add(name)
            self._session.ui.say(
                f"task {name} takes {seconds:.1f} s: evaluated less often than every"
                f" {self._every[name]:,} steps, to stay below {self._share:.0%} of the time"
                " (eval.max_share)"
            )
        return False


def new_best(session: Session, trainer: Trainer, metrics: Metrics) -> Best | None:
    """Return a new best value if the metrics have one; they may not have its metric, which may
    belong to a task or to a domain of a later stage."""
    metric, best = session.recipe.train.checkpoint.best, trainer.progress.best
    value = metrics.get(metric, math.nan)
    is_best = best is None or best.metric != metric or is_better(metric, value, best.value)
    found = Best(trainer.progress.step, value, metric)
    return found if is_best and math.isfinite(value) else None


class Scorer:
    """Scores the domains of all stages up to `index`, in the precision used for training."""

    def __init__(self, session: Session, index: int):
        self._session, self._index = session, index
        stages = session.recipe.stages[: index + 1]
        self.domains = sorted({domain for stage in stages for domain in stage.domains()})
        self._shapes = {domain: self._shape(domain) for domain in self.domains}
        self._seq_len = max(map(longest_row, stages))
        metrics = session.recipe.stages[index].gate.metrics()
        self.tasks = {task.name: task for task in session.recipe.eval.gate_tasks(metrics)}
        """Tasks that the gate evaluates, by name."""
        # Their files are read now, so that mistakes in them are found before the stage trains.
        self._prepared = self._prepare_tasks() if session.world.is_main else {}

    def _shape(self, domain: str) -> WindowShape:
        """Return a domain's window: the same in every stage as in the first that trains it."""
        settings, stages = self._session.recipe.eval, self._session.recipe.stages
        first = next(stage for stage in stages if domain in stage.domains())
        return window_shape(settings.seq_len or longest_row(first), settings.stride)

    def score(self, domains: Collection[str]) -> dict[str, Score]:
        """Score all held-out text of the domains."""
        held_out = {domain: self._session.data.held_out[domain] for domain in domains}
        return self._on_main(
            lambda model: score_domains(model, held_out, self._shapes, self._session.ui)
        )

    def score_sample(self, domains: Collection[str]) -> dict[str, Score]:
        """Score the domains' held-out samples, which are drawn once per run."""
        samples = {domain: self._session.data.samples[domain] for domain in domains}
        return self._on_main(
            lambda model: {
                domain: score_shards(model, one.shards, self._shapes[domain], one.documents)
                for domain, one in samples.items()
            }
        )

    def score_at_start(self, domains: Collection[str]) -> dict[str, Score]:
        """Score the domains before a stage's first step.

        With randomly initialized weights only the sample is scored, so that training starts sooner.
        """
        is_trained = self._index or self._session.recipe.model.init_from is not None
        return self.score(domains) if is_trained else self.score_sample(domains)

    def _prepare_tasks(self) -> dict[str, PreparedTask]:
        settings, tokenizer = self._session.recipe.eval, self._session.data.tokenizer
        folder = expand_home(settings.task_data) if settings.task_data else None
        prepared = {}
        for name, task in self.tasks.items():
            options = TaskOptions(task.limit, task.num_fewshot, allow_code=settings.allow_code)
            prepared[name] = prepare_task(name, ALL_TASKS[name], tokenizer, folder, options)
        return prepared

    def score_tasks(
        self, names: Collection[str], cache: Path | None = None, ui: Ui | None = None
    ) -> TaskMetrics:
        """Return the metrics of tasks; none if `ui` is a `TaskLimit` that ends the evaluation.

        Answers are kept in the folder `cache`, if given, so that an interrupted evaluation resumes.
        """

        def evaluate(model: LanguageModel) -> TaskMetrics:
            cached, shown = CachedModel(model, self._seq_len, cache), ui or SilentUi()
            try:
                results = {name: self._prepared[name](cached, shown) for name in names}
            except TaskLimit.Ended:
                results = {}
            return named_results(results)

        return self._on_main(evaluate) if names else ({}, {})

    def _on_main(self, score: Callable[[LanguageModel], Result]) -> Result:
        """Score the weights for evaluation on rank 0, and broadcast the result."""
        world = self._session.world
        with self._session.engine.eval_weights() as model:
            scores = score(model) if world.is_main else None
            world.wait_for_main()
            return cast(Result, world.broadcast(scores))


class CheckpointSaver(Callback):
    """Writes the checkpoints of a stage."""

    def __init__(self, session: Session, index: int):
        self.session = session
        self.stage = session.recipe.stages[index].name
        self.seq_len = max(map(longest_row, session.recipe.stages[: index + 1]))
        self._cadence = Cadence(session.recipe.train.checkpoint)

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Save when due, but not what a rollback undoes; at the stage's end, wait for the write."""
        self.session.writer.check()
        progress, plan = trainer.progress, trainer.plan
        step, done = progress.step, progress.stage_step
        is_due = self._cadence.due(step, done, phase_end=plan.is_phase_end(done))
        is_due |= progress.best is not None and progress.best.step == step
        is_due = (is_due or done == plan.total_steps) and trainer.rollback is None
        is_due = self.session.world.broadcast(is_due)
        if is_due:
            self.session.add_rollback_step(step)
        if done == plan.total_steps:
            self.on_stop(trainer)
        elif is_due:
            self._submit(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Write a checkpoint and wait until it is on disk."""
        self._submit(trainer)
        self.session.writer.wait()
        self.session.world.barrier()  # a rank that exits early would terminate the writing rank

    def _submit(self, trainer: Trainer) -> None:
        """Submit the full training state to the writer, which then deletes old checkpoints."""
        session, progress = self.session, trainer.progress
        entry, rows = session.ledger.entry(self.stage), micro_rows_of(trainer.plan)
        if entry is not None and entry.micro_rows != rows:  # reduced after an out-of-memory error
            entry.micro_rows = rows
            session.ledger.write()
        optimizer_state = session.engine.optimizer_state()
        files = {**session.engine.weights(), "optimizer": optimizer_state.tensors}
        if session.world.is_main:
            state = self._state(trainer, optimizer_state.plain)
            best, kept = progress.best, set(session.rollback_steps)
            session.writer.submit(progress.step, files, state, lambda: self._delete_old(best, kept))
        self._cadence.saved()

    def _delete_old(self, best: Best | None, kept: Collection[int]) -> None:
        run, settings = self.session.run, self.session.recipe.train.checkpoint
        if best is not None:
            write_best(run.path, best.step, best.metric, best.value)
        named = read_best(run.path)  # from the previous stage until this one has a best
        rotate(
            run.checkpoints,
            keep=settings.keep,
            keep_every=settings.keep_every_steps,
            best=named.step if named else None,
            also=kept if self.session.recipe.monitor.rolls_back else (),
        )

    def _state(self, trainer: Trainer, optimizer: Any) -> dict[str, Any]:
        session, engine = self.session, self.session.engine
        scale = engine.mixed_precision.scale
        state = {
            "progress": trainer.progress.to_dict(),
            "model": session.engine.settings.model_dump(mode="json"),
            "tokenizer": session.data.tokenizer.digest,
            "seq_len": self.seq_len,
            "data_folder": session.recipe.data.folder,
            "optimizer": optimizer,
            "loss_scale": scale.to_dict() if scale else None,
            "devices": session.world.size,
            "micro_rows": {str(i): rows for i, rows in micro_rows_of(trainer.plan).items()},
            "recorder": session.recorder.to_dict(),
            "watch": session.alerts.to_dict(),
            "rollback_steps": list(session.rollback_steps),
        }
        return state if engine.ema is None else state | {"ema_updates": engine.ema.num_updates}
