"""The training loop of one stage. It fits on a screen; each line is a verb."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from yxanul.base.clock import Stopwatch
from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import Task, Ui
from yxanul.data.batches import Batch, Feed
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.optim.clip import clip_gradients
from yxanul.optim.config import OptimSettings
from yxanul.optim.ema import Ema
from yxanul.optim.groups import set_rate
from yxanul.optim.schedules import learning_rate
from yxanul.train.chores import Chore
from yxanul.train.config import OutlierSettings
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.curvature import Curvature
from yxanul.train.precision.twin import Twin
from yxanul.train.progress import Progress


@dataclass(frozen=True)
class StepReport:
    """What one step did: what the metrics of the step are made of."""

    progress: Progress
    phase: Phase
    loss: float
    """Mean over the target tokens of the step, in nats."""
    rate: float
    gradient_norm: float
    """Before clipping."""
    clip: float | None
    applied: bool
    """False when the update was skipped: something was not finite, or an outlier."""
    num_targets: int
    seconds: dict[str, float]
    """Split of the step's time: data, forward, backward, optimizer."""


@dataclass
class Trainer:
    """Everything a stage's training needs, and the loop itself."""

    twin: Twin
    optimizer: torch.optim.Optimizer
    feed: Feed
    plan: Plan
    optim: OptimSettings
    progress: Progress
    max_bad_steps: int
    ui: Ui
    stop: StopRequest
    record: Callable[[StepReport], None]
    save: Callable[[Trainer], None]
    chores: Sequence[Chore] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    skip_outliers: OutlierSettings | None = None
    curvature: Curvature | None = None
    """For the optimizer that asks for it."""
    ema: Ema | None = None

    def run(self) -> None:
        """Train to the end of the plan; on a signal save and raise `Interrupted`."""
        done = self.progress.stage_step
        total = self.plan.total_tokens - self.plan.tokens_after(done)
        title = f"train {self.progress.stage}"
        with self.stop.deferred(), self.ui.task(title, total, "tokens") as bar:
            while self.progress.stage_step < self.plan.total_steps:
                report = self.step()
                self.record(report)
                self._show(bar, report)
                self._do_chores()
                self._stop_if_asked()
                self._refuse_to_diverge()

    def step(self) -> StepReport:
        """Do one optimizer update (or skip it: something is not finite, or an outlier)."""
        watch = Stopwatch()
        phase = self.plan.phase_at(self.progress.stage_step)
        rate = self.set_rate(phase)
        micro_batches, cursor = self.fetch(phase)
        num_targets = sum(batch.num_targets for batch in micro_batches)
        watch.lap("data")
        if self.curvature is not None and self.curvature.due(self.progress.stage_step):
            self.curvature.estimate(micro_batches[0], self.progress.step)
            watch.lap("optimizer")
        loss = self.accumulate(micro_batches, num_targets, watch)
        norm, applied = self.update(phase, loss)
        watch.lap("optimizer")
        recent = self.progress.recent
        if self.skip_outliers is not None:
            recent = recent.after(phase.index, loss, norm, self.skip_outliers)
        self.progress = self.progress.after_step(phase.step_tokens, cursor, applied, recent)
        return StepReport(
            self.progress, phase, loss, rate, norm, phase.clip, applied, num_targets, watch.laps
        )

    def set_rate(self, phase: Phase) -> float:
        """Set and return the learning rate of the step to come: schedule x the phase's scale."""
        done = self.progress.stage_step
        rate = phase.rate_scale * learning_rate(
            self.optim,
            step=done + 1,
            total_steps=self.plan.total_steps,
            tokens=self.plan.tokens_after(done + 1),
            total_tokens=self.plan.total_tokens,
            step_tokens=phase.step_tokens,
        )
        set_rate(self.optimizer, rate / self.optim.peak_rate)
        return rate

    def fetch(self, phase: Phase) -> tuple[list[Batch], MixCursor]:
        """Return the step's micro-batches, and the position in the data after them."""
        rows, cursor = plan_rows(self.progress.cursor, phase.mix, phase.rows, phase.seq_len)
        starts = range(0, len(rows), phase.micro_rows)
        chunks = [rows[start : start + phase.micro_rows] for start in starts]
        try:
            batches = [self.feed.batch(chunk, phase.seq_len) for chunk in chunks]
        except YxanulError:  # told to stop while it waited for text, or none will come
            self.save(self)
            raise
        return [batch.to(self.device) for batch in batches], cursor

    def accumulate(
        self, micro_batches: Sequence[Batch], num_targets: int, watch: Stopwatch
    ) -> float:
        """Sum the gradients of the micro-batches of a step; return the mean cross-entropy in nats.

        Each micro-batch counts by its target tokens, so that any split gives the same sum.
        """
        total = torch.zeros((), device=self.device)
        for batch in micro_batches:
            loss = self.twin.model.loss(batch.ids_BT, batch.targets_BT, batch.documents_BT)
            watch.lap("forward")
            (loss.total / num_targets).backward()
            self.twin.collect()
            total += loss.cross_entropy
            watch.lap("backward")
        return float(total) / num_targets

    def update(self, phase: Phase, loss: float) -> tuple[float, bool]:
        """Clip and apply the gradients unless they are bad; return the norm and whether applied."""
        norm = float(clip_gradients(self.twin.master.parameters(), phase.clip))
        applied = math.isfinite(loss) and math.isfinite(norm)
        if applied and self.skip_outliers is not None:
            recent = self.progress.recent
            applied = not recent.is_outlier(phase.index, loss, norm, self.skip_outliers)
        if applied:
            self.optimizer.step()
            self.twin.refresh()
            if self.ema is not None:
                self.ema.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm, applied

    def _show(self, bar: Task, report: StepReport) -> None:
        total = f"{self.progress.stage_step}/{self.plan.total_steps}"
        bar.advance(report.phase.step_tokens, f"step {total}, loss {report.loss:.3f}")

    def _do_chores(self) -> None:
        last = self.progress.stage_step == self.plan.total_steps
        for chore in self.chores:
            if chore.due(self.progress.stage_step, last):
                chore.action(self)

    def _stop_if_asked(self) -> None:
        if self.stop.signal_number is not None:
            self.save(self)
            self.stop.raise_if_asked(
                f"stopped after step {self.progress.step}; the state is saved",
                hint="the same command goes on from there",
            )

    def _refuse_to_diverge(self) -> None:
        if self.progress.bad_steps >= self.max_bad_steps:
            raise YxanulError(
                f"{self.progress.bad_steps} updates in a row were skipped",
                found="a loss or gradient that is not finite"
                + (", or is an outlier" if self.skip_outliers else ""),
                hint="lower optim.peak_rate, raise the warm-up, or train in fp32",
            )
