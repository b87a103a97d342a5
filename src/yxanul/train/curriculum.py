"""Plan of a stage: shape, scales and mix of every step. Pure arithmetic, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import lr_multiplier, warmup_length
from yxanul.train.config import PhaseSettings, TrainSettings, rows_of_step

AUTO_MICRO_TOKENS = 8_192


@dataclass(frozen=True)
class Phase:
    """Consecutive steps with the same shape, scales and mix."""

    index: int
    seq_len: int
    rows: int
    """Rows per step, over all micro-batches."""
    micro_rows: int
    """Rows per micro-batch; the last of a step may have fewer."""
    first_step: int
    num_steps: int
    lr_scale: float
    clip: float | None
    mix: dict[str, float]

    @property
    def step_tokens(self) -> int:
        """Target tokens per step."""
        return self.rows * self.seq_len

    @property
    def num_tokens(self) -> int:
        """Target tokens of the whole phase."""
        return self.num_steps * self.step_tokens


@dataclass(frozen=True)
class LrCurve:
    """A learning-rate schedule over the steps of a stage from `first_step` on.

    It may start in the middle of the schedule if the rest of a stage was replanned.
    """

    first_step: int
    total_steps: int
    """Updates of the whole schedule."""
    total_tokens: int
    """Target tokens of the whole schedule."""
    done_steps: int = 0
    """Updates of the schedule that count as done at `first_step`."""
    done_tokens: int = 0
    """Target tokens of the schedule that count as done at `first_step`."""
    lr_scale: float = 1.0
    warmup_fraction: float | None = None
    """Overrides the warm-up of the settings."""


@dataclass(frozen=True)
class Plan:
    """The phases of a stage, in order, to its end."""

    phases: tuple[Phase, ...]
    replanned: tuple[LrCurve, ...] = ()
    """Learning-rate curves in order, if more than one or not spanning exactly the phases."""

    @property
    def curves(self) -> tuple[LrCurve, ...]:
        """Learning-rate curves in order; the first starts at step 0."""
        return self.replanned or (LrCurve(0, self.total_steps, self.total_tokens),)

    def curve_at(self, steps_done: int) -> LrCurve:
        """Return the curve of the step after `steps_done` steps."""
        return [curve for curve in self.curves if curve.first_step <= steps_done][-1]

    def done_of(self, curve: LrCurve, steps_done: int) -> tuple[int, int]:
        """Return the updates and target tokens of a curve done after `steps_done` steps."""
        tokens = self.tokens_after(steps_done) - self.tokens_after(curve.first_step)
        return curve.done_steps + steps_done - curve.first_step, curve.done_tokens + tokens

    @property
    def total_steps(self) -> int:
        """Optimizer updates of the stage."""
        return sum(phase.num_steps for phase in self.phases)

    @property
    def total_tokens(self) -> int:
        """Target tokens of the stage."""
        return sum(phase.num_tokens for phase in self.phases)

    @property
    def longest(self) -> int:
        """Longest sequence length of the stage."""
        return max(phase.seq_len for phase in self.phases)

    def phase_at(self, steps_done: int) -> Phase:
        """Return the phase of the step after `steps_done` steps."""
        for phase in reversed(self.phases):
            if phase.num_steps and phase.first_step <= steps_done:
                return phase
        raise IndexError(steps_done)

    def widest(self, index: int) -> Phase:
        """Return the phase of that index in the shape of its largest steps."""
        shapes = (phase for phase in self.phases if phase.index == index)
        return max(shapes, key=lambda phase: phase.step_tokens)

    def is_phase_end(self, steps_done: int) -> bool:
        """Return whether step number `steps_done` was the last of a phase."""
        if steps_done == self.total_steps:
            return True
        return steps_done > 0 and (
            self.phase_at(steps_done).index != self.phase_at(steps_done - 1).index
        )

    def tokens_after(self, steps_done: int) -> int:
        """Return the stage's target tokens after `steps_done` steps."""
        return sum(
            min(max(steps_done - phase.first_step, 0), phase.num_steps) * phase.step_tokens
            for phase in self.phases
        )


def is_warming_up(plan: Plan, optim: OptimSettings, steps_done: int) -> bool:
    """Return whether the rate is still warming up after `steps_done` steps."""
    settings = _with_warmup_of(plan.curve_at(steps_done), optim)
    done, total = schedule_position(plan, optim, steps_done)
    return done < warmup_length(settings.schedule, total)


def schedule_position(plan: Plan, optim: OptimSettings, steps_done: int) -> tuple[int, int]:
    """Return the done and the total length, in the schedule's unit."""
    curve = plan.curve_at(steps_done)
    steps, tokens = plan.done_of(curve, steps_done)
    in_steps = optim.schedule.clock == "steps"
    return (steps, curve.total_steps) if in_steps else (tokens, curve.total_tokens)


def planned_lr(plan: Plan, optim: OptimSettings, steps_done: int) -> float:
    """Return the learning rate of the step after `steps_done` steps of a stage."""
    return optim.peak_lr * planned_multiplier(plan, optim, steps_done)


def planned_multiplier(plan: Plan, optim: OptimSettings, steps_done: int) -> float:
    """Return the learning rate, as a share of the peak, of the step after `steps_done` steps."""
    phase, curve = plan.phase_at(steps_done), plan.curve_at(steps_done)
    step, tokens = plan.done_of(curve, steps_done + 1)
    return (
        phase.lr_scale
        * curve.lr_scale
        * lr_multiplier(
            _with_warmup_of(curve, optim),
            step=step,
            total_steps=curve.total_steps,
            tokens=tokens,
            total_tokens=curve.total_tokens,
            step_tokens=phase.step_tokens,
        )
    )


def _with_warmup_of(curve: LrCurve, optim: OptimSettings) -> OptimSettings:
    """Return the settings with the curve's own warm-up, if it has one."""
    if curve.warmup_fraction is None:
        return optim
    warmup = {"warmup_steps": None, "warmup_tokens": None, "warmup_fraction": curve.warmup_fraction}
    schedule = optim.schedule.model_copy(update={**warmup, "schedule_unit": optim.schedule.clock})
    return optim.model_copy(update={"schedule": schedule})


def make_plan(
    curriculum: Sequence[PhaseSettings],
    mix: dict[str, float],
    train: TrainSettings,
    *,
    clip: float | None,
    steps: int | None = None,
    tokens: int | None = None,
) -> Plan:
    """Return the plan of a curriculum for a budget of `steps` or `tokens` (exactly one of them).

    A phase with an exact count in `tokens` may end in smaller steps, which are further phases
    with the same index.
    """
    assert (steps is None) != (tokens is None)
    phases: list[Phase] = []
    steps_done = tokens_done = 0
    for index, settings in enumerate(curriculum):
        rows, micro_rows = _rows(settings, train)
        phase = Phase(
            index=index,
            seq_len=settings.seq_len,
            rows=rows,
            micro_rows=micro_rows,
            first_step=steps_done,
            num_steps=0,
            lr_scale=settings.lr_scale,
            clip=settings.grad_clip if settings.grad_clip is not None else clip,
            mix=settings.mix or mix,
        )
        end_step, end_tokens = _end_of_phase(curriculum, index, steps, tokens)
        if end_step is not None:
            new = [replace(phase, num_steps=max(0, end_step - steps_done))]
        elif settings.tokens is not None and settings.tokens == end_tokens - tokens_done:
            new = _exact_phases(phase, settings.tokens)
        else:
            num_steps = math.ceil((end_tokens - tokens_done) / phase.step_tokens)
            new = [replace(phase, num_steps=max(0, num_steps))]
        phases += new
        steps_done += sum(phase.num_steps for phase in new)
        tokens_done += sum(phase.num_tokens for phase in new)
    return first_steps(Plan(tuple(phases)), steps, tokens)


def _end_of_phase(
    curriculum: Sequence[PhaseSettings], index: int, steps: int | None, tokens: int | None
) -> tuple[int | None, int]:
    """Return where a phase ends: a step, or, if that is None, a number of tokens."""
    if index + 1 == len(curriculum):
        return steps, tokens or 0
    following = curriculum[index + 1]
    if following.from_step is not None:
        return following.from_step, 0
    if following.from_tokens is not None:
        return None, following.from_tokens
    if curriculum[index].tokens is not None:
        return None, sum(phase.tokens or 0 for phase in curriculum[: index + 1])
    share = math.fsum(phase.share or 0 for phase in curriculum[: index + 1])
    if steps is not None:
        return round(share * steps), 0
    return None, round(share * (tokens or 0))


def _exact_phases(phase: Phase, num_tokens: int) -> list[Phase]:
    """Return the full steps of a phase, and the smaller ones that complete an exact count."""
    full, rest = divmod(num_tokens, phase.step_tokens)
    phases = [replace(phase, num_steps=full)]
    for number, (rows, seq_len) in enumerate(_rectangles(rest, phase)):
        first, micro_rows = phase.first_step + full + number, min(rows, phase.micro_rows)
        small = replace(phase, first_step=first, num_steps=1, rows=rows, seq_len=seq_len)
        phases.append(replace(small, micro_rows=micro_rows))
    return phases


def _rectangles(num_tokens: int, phase: Phase) -> list[tuple[int, int]]:
    """Return (rows, seq_len) of the one or two steps that hold exactly `num_tokens` tokens."""
    if num_tokens == 0:
        return []
    for rows in range(math.ceil(num_tokens / phase.seq_len), phase.rows + 1):
        if num_tokens % rows == 0:
            return [(rows, num_tokens // rows)]
    rows, rest = divmod(num_tokens, phase.seq_len)
    return [shape for shape in ((rows, phase.seq_len), (1, rest)) if 0 not in shape]


def first_steps(plan: Plan, steps: int | None, tokens: int | None) -> Plan:
    """Drop the steps beyond the budget, given in steps or in tokens."""
    kept: list[Phase] = []
    steps_done = tokens_done = 0
    for phase in plan.phases:
        if steps is not None:
            room = steps - steps_done
        else:
            room = math.ceil(((tokens or 0) - tokens_done) / phase.step_tokens)
        num_steps = min(phase.num_steps, max(0, room))
        if num_steps:
            kept.append(replace(phase, first_step=steps_done, num_steps=num_steps))
        steps_done += num_steps
        tokens_done += num_steps * phase.step_tokens
    return Plan(tuple(kept))


def _rows(settings: PhaseSettings, train: TrainSettings) -> tuple[int, int]:
    """Return the rows per step and per micro-batch."""
    rows = rows_of_step(settings, train)
    micro_rows = max(1, min(rows, AUTO_MICRO_TOKENS // settings.seq_len))
    if settings.device_batch_size is not None:
        micro_rows = settings.device_batch_size
    if train.micro_batch_size != "auto":
        micro_rows = min(rows, train.micro_batch_size)
    return rows, micro_rows
