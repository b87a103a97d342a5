"""Training loop of one stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from yxanul.base.clock import Stopwatch
from yxanul.base.errors import Interrupted, StoppedByAlert, YxanulError
from yxanul.base.figures import format_seconds
from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import ProgressTask, Ui
from yxanul.data.batches import Batch, BatchLoader
from yxanul.data.mix import MixCursor, Row, plan_rows
from yxanul.model.count import count_parameters, flops_per_token
from yxanul.monitor.config import SpikeSettings
from yxanul.monitor.memory import added_memory
from yxanul.monitor.metrics import StepFacts
from yxanul.optim.config import OptimSettings
from yxanul.train.curriculum import Phase, Plan, planned_multiplier
from yxanul.train.engine import Engine
from yxanul.train.hessian import HessianEstimator
from yxanul.train.memory import forget_gradients, free, is_out_of_memory, too_large
from yxanul.train.micro_batch import halved, micro_batches, micro_rows_of
from yxanul.train.parallel.world import World
from yxanul.train.progress import Best, Progress
from yxanul.train.stall import StallWatch


@dataclass(frozen=True, kw_only=True)
class StepReport(StepFacts):
    """Result of one step: what its metrics are computed from, and where it leaves the run."""

    progress: Progress
    mix: Mapping[str, float]


@dataclass(frozen=True)
class Changes:
    """Changes a callback requests from the next step on; None leaves a value as it is."""

    plan: Plan | None = None
    best: Best | None = None
    stop: str | None = None
    """Why training must stop after this step, as an alert says."""
    rollback: tuple[str, int] | None = None
    """Name of an alert that asks for earlier weights, and the step of their checkpoint."""


class Callback:
    """Base class of training callbacks, called in every process; its methods do nothing."""

    def before_update(self, trainer: Trainer, batch: Batch) -> None:
        """Called with the gradients of a step, before clipping, and its first micro-batch."""

    def after_first_backward(self, trainer: Trainer, batch: Batch, num_targets: int) -> None:
        """Called after the first backward pass of a step that has several micro-batches; gradients
        are divided by the step's number of targets."""

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Called after every step, including skipped ones."""

    def on_stop(self, trainer: Trainer) -> None:
        """Called before training stops early, to save state."""


@dataclass
class Trainer:
    """The training loop of a stage and everything it needs."""

    engine: Engine
    loader: BatchLoader
    plan: Plan
    optim: OptimSettings
    progress: Progress
    max_skipped_steps: int
    ui: Ui
    stop: StopRequest
    callbacks: Sequence[Callback] = ()
    skip_spikes: SpikeSettings | None = None
    later_work: tuple[int, float] = (0, 0.0)
    """Target tokens and seconds planned for the stages after this one, for the time left."""
    hessian: HessianEstimator | None = None
    """Only for Sophia."""
    guessed: bool = False
    """Whether the length of the plan is a guess, which is not shown."""

    def __post_init__(self) -> None:
        self._stalls = StallWatch(self.ui)
        self._estimated: int | None = None
        self.stop_alert: str | None = None
        """The alert that asks for a stop after the current step."""
        self.rollback: tuple[str, int] | None = None
        """Alert that asks for earlier weights, and the step of their checkpoint; only on rank 0."""
        self._trained = (0, 0.0)
        self._forward_bytes = 0.0

    @property
    def world(self) -> World:
        """The distributed process group."""
        return self.engine.world

    def run(self) -> None:
        """Train to the end of the plan, or until an alert asks for earlier weights; on a signal,
        save and raise `Interrupted`."""
        self.rollback = None
        title, plan = f"train {self.progress.stage}", self.plan
        done = plan.tokens_after(self.progress.stage_step)
        total = math.inf if self.guessed else plan.total_tokens
        with self.stop.deferred(), self.ui.task(title, total, "tokens", done) as bar:
            while self.progress.stage_step < self.plan.total_steps:
                best, report = self.progress.best, self.step()
                self._show(bar, report)
                for callback in self.callbacks:
                    self._take(callback.after_step(self, report))
                if self.plan is not plan:  # shortened, or with other micro-batches
                    plan = self.plan
                    bar.expect(math.inf if self.guessed else plan.total_tokens)
                if self.world.any(self.rollback is not None):
                    self.progress = replace(self.progress, best=best)  # a new best was not saved
                    return
                self._stop_if_asked()
                self._check_skipped_steps()

    def step(self) -> StepReport:
        """Do one optimizer update, or skip it if it is non-finite or a spike."""
        watch = Stopwatch()
        phase = self.plan.phase_at(self.progress.stage_step)
        multiplier = planned_multiplier(self.plan, self.optim, self.progress.stage_step)
        lr_by_role = self.engine.set_lr(multiplier)
        while (summed := self.gradients(watch)) is None:
            self._halve_micro_batch(phase)
        loss, num_targets, cursor, batch = summed
        for callback in self.callbacks:
            callback.before_update(self, batch)
        watch.lap("metrics")
        norm, applied, excused = self.update(phase, loss)
        watch.lap("optimizer")
        loss_history = self.progress.loss_history
        if self.skip_spikes is not None:
            loss_history = loss_history.after(phase.index, loss, norm, self.skip_spikes)
        self.progress = self.progress.after_step(
            phase.step_tokens, cursor, applied, excused, loss_history
        )
        model, progress = self.engine.settings, self.progress
        return StepReport(
            loss=loss,
            learning_rate=self.optim.peak_lr * multiplier,
            lr_by_role=lr_by_role,
            gradient_norm=norm,
            clip=phase.clip,
            applied=applied,
            excused=excused,
            lr_scale=phase.lr_scale,
            phase=phase.index,
            rows=phase.rows,
            seq_len=phase.seq_len,
            num_targets=num_targets,
            tokens_seen=progress.tokens_seen,
            seconds=watch.laps,
            flops_per_token=flops_per_token(model, phase.seq_len).total,
            num_parameters=count_parameters(model),
            tokens_left=self.plan.total_tokens - self.plan.tokens_after(progress.stage_step),
            stage_step=progress.stage_step,
            forward_bytes=self._forward_bytes,
            skipped_total=progress.skipped_steps,
            progress=progress,
            mix=phase.mix,
        )

    def gradients(self, watch: Stopwatch) -> tuple[float, int, MixCursor, Batch] | None:
        """Accumulate the gradients of the step; return the mean loss, the number of targets, the
        data cursor after it and the first micro-batch. None: out of memory, with no gradients left
        behind."""
        phase = self.plan.phase_at(self.progress.stage_step)
        try:
            batches, cursor = self.fetch(phase)
            with self._stalls.watching(f"step {self.progress.step + 1} with the other processes"):
                num_targets = round(self.world.sum(sum(batch.num_targets for batch in batches)))
            watch.lap("data")
            self._estimate_hessian(batches[0])
            watch.lap("optimizer")
            loss = self.accumulate(batches, num_targets, watch)
            return loss, num_targets, cursor, batches[0]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.world.size > 1:  # the other ranks are waiting in the middle of the step
                raise self._out_of_memory(phase) from error
        forget_gradients(self.engine.mixed_precision)
        free()
        return None

    def _estimate_hessian(self, batch: Batch) -> None:
        """Update the Hessian estimate if due, and only once for a step that is repeated."""
        done, hessian = self.progress, self.hessian
        if hessian is None or not hessian.due(done.stage_step) or self._estimated == done.step:
            return
        hessian.estimate(batch, done.step)
        self._estimated = done.step

    def _out_of_memory(self, phase: Phase) -> YxanulError:
        error = too_large(phase, self.engine.device, self.world.size)
        error.is_retryable = True
        return error

    def _halve_micro_batch(self, phase: Phase) -> None:
        self.plan = halved(self.plan, phase.index)
        rows = micro_rows_of(self.plan)[phase.index]
        self.ui.warn(
            f"step {self.progress.step + 1} ran out of memory; repeating it, and continuing phase"
            f" {phase.index}, with micro-batches of {rows} rows (the batch size does not change)"
        )

    def fetch(self, phase: Phase) -> tuple[list[Batch], MixCursor]:
        """Return this process's micro-batches of a step, and the data cursor after it."""
        rows, cursor = plan_rows(self.progress.cursor, phase.mix, phase.rows, phase.seq_len)
        chunks = micro_batches(rows, phase.micro_rows, self.world.rank, self.world.size)
        sources = ", ".join(sorted({row.source for row in rows}))
        waiting = self._stalls.watching(f"reading step {self.progress.step + 1} from {sources}")
        try:
            with waiting:
                batches = [self._batch(chunk, rows, phase.seq_len) for chunk in chunks]
        except (Interrupted, YxanulError):  # stopped while waiting for text, or the source failed
            if self.world.size == 1:
                self._save()
            raise
        return [batch.to(self.engine.device) for batch in batches], cursor

    def _batch(self, chunk: Sequence[Row], rows: Sequence[Row], seq_len: int) -> Batch:
        """Return a batch of the chunk's rows; for an empty chunk, one row without targets."""
        if chunk:
            return self.loader.load(chunk, seq_len)
        return self.loader.load(rows[:1], seq_len).without_targets()

    def accumulate(self, batches: Sequence[Batch], num_targets: int, watch: Stopwatch) -> float:
        """Accumulate the gradients of a step's micro-batches; return the mean loss in nats.

        Each micro-batch is weighted by its target tokens, so that any split gives the same sum.
        """
        summed, self._forward_bytes = torch.zeros((), device=self.engine.device), 0.0
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with added_memory(self.engine.device.type) as added:
                total, cross_entropy = self.engine.loss(batch, last)
                self._forward_bytes = max(added(), self._forward_bytes)  # NaN stays
            watch.lap("forward")
            self.engine.backward(total / num_targets, last)
            summed += cross_entropy
            watch.lap("backward")
            if number == 1 and not last:
                for callback in self.callbacks:
                    callback.after_first_backward(self, batch, num_targets)
                watch.lap("metrics")
        return self.world.sum(float(summed)) / num_targets

    def update(self, phase: Phase, loss: float) -> tuple[float, bool, bool]:
        """Clip and apply the gradients unless the step is skipped; return the norm, whether the
        update was applied, and whether a skip is excused (fp16 lowered its loss scale)."""
        norm = self.engine.clip(phase.clip)
        applied = finite = math.isfinite(loss) and math.isfinite(norm)
        if applied and self.skip_spikes is not None:
            loss_history = self.progress.loss_history
            applied = not loss_history.is_spike(phase.index, loss, norm, self.skip_spikes)
        if applied:
            self._apply(phase)
        else:
            self.engine.zero_grad()
        # A non-finite loss is not caused by the loss scale.
        excused = math.isfinite(loss) and self.engine.mixed_precision.after_update(finite)
        return norm, applied, excused

    def _apply(self, phase: Phase) -> None:
        try:
            self.engine.step()
        except (RuntimeError, MemoryError) as error:  # a half-applied update cannot be repeated
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory(phase) from error

    def _show(self, bar: ProgressTask, report: StepReport) -> None:
        tokens, seconds = self._trained
        tokens, seconds = tokens + report.num_targets, seconds + sum(report.seconds.values())
        self._trained = tokens, seconds
        plan, done = self.plan, self.progress.stage_step
        later_tokens, later_seconds = self.later_work
        run_left = (report.tokens_left + later_tokens) * seconds / max(1, tokens) + later_seconds
        what = f"run {format_seconds(run_left)} left, step {done}/{plan.total_steps}"
        bar.advance(
            report.rows * report.seq_len,
            f"loss {report.loss:.3f}, phase {report.phase + 1}/{plan.phases[-1].index + 1},"
            f" {f'step {done}' if self.guessed else what}",
        )

    def _take(self, changes: Changes | None) -> None:
        if changes is not None:
            self.plan, self.guessed = changes.plan or self.plan, self.guessed and not changes.plan
            self.progress = replace(self.progress, best=changes.best or self.progress.best)
            self.stop_alert = self.stop_alert or changes.stop
            if self.progress.stage_step < self.plan.total_steps:  # else the gate judges
                self.rollback = self.rollback or changes.rollback

    def _save(self) -> None:
        for callback in self.callbacks:
            callback.on_stop(self)

    def _stop_if_asked(self) -> None:
        last = self.stop.after_step
        reached = last is not None and self.progress.step >= last
        is_stopped = self.stop.signal_number is not None or self.stop_alert is not None
        if not self.world.any(reached or is_stopped):
            return
        self._save()
        if (alert := self.world.broadcast(self.stop_alert)) is not None:
            raise StoppedByAlert(
                "stopped by an alert; the state is saved",
                got=alert,
                hint="run the same command to resume",
            )
        self.stop.pass_on(True)
        self.stop.raise_if_asked(
            f"stopped after step {self.progress.step}; the state is saved",
            hint="run the same command to resume",
        )

    def _check_skipped_steps(self) -> None:
        if self.progress.consecutive_skips >= self.max_skipped_steps:
            reason = "non-finite or spiking" if self.skip_spikes else "non-finite"
            raise YxanulError(
                f"{self.progress.consecutive_skips} consecutive updates were skipped",
                got=f"a {reason} loss or gradient",
                hint="lower optim.peak_lr, raise the warm-up, or train in fp32",
            )
