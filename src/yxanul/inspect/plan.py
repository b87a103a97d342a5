"""Plan of each stage of a recipe as JSON data: phases, totals, learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import warmup_length
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.plan import counted_plan, make_stage_plan
from yxanul.train.curriculum import Phase, Plan, planned_lr

NOMINAL_TOKENS = 1_000_000_000
CURVE_POINTS = 64


@dataclass(frozen=True)
class StagePlan:
    """A stage with its optimizer settings and its plan."""

    stage: StageSettings
    optim: OptimSettings
    plan: Plan
    counted: bool
    """False if the budget depends on the machine or the data: only the plan's shape holds then."""

    def parts(self) -> list[list[Phase]]:
        """Return the parts of each phase: the first, and the smaller last steps that make its token
        count exact."""
        by_index = groupby(self.plan.phases, key=lambda phase: phase.index)
        return [list(group) for _, group in by_index]

    def phases(self) -> list[dict[str, Any]]:
        """Return the phases; figures that depend on the machine or the data are None."""
        facts = []
        for parts in self.parts():
            phase = parts[0]
            counts = {
                "steps": sum(part.num_steps for part in parts),
                "tokens": sum(part.num_tokens for part in parts),
                "sequences": sum(part.num_steps * part.rows for part in parts),
            }
            facts.append(
                {
                    "stage": self.stage.name,
                    "phase": phase.index,
                    "seq_len": phase.seq_len,
                    "rows": phase.rows,
                    "micro_rows": phase.micro_rows,
                    "from_step": phase.first_step if self.counted or not phase.first_step else None,
                    **(counts if self.counted else dict.fromkeys(counts)),
                    "lr_scale": phase.lr_scale,
                    "clip": phase.clip,
                    "mix": phase.mix,
                }
            )
        return facts

    def curve(self) -> list[dict[str, Any]]:
        """Return points of the learning-rate curve.

        `step` counts the stage's steps from 1, None if the budget is not known yet; `done` is the
        fraction of the stage completed after that step.
        """
        return [
            {
                "stage": self.stage.name,
                "step": step + 1 if self.counted else None,
                "done": (step + 1) / self.plan.total_steps,
                "rate": planned_lr(self.plan, self.optim, step),
            }
            for step in self.steps(CURVE_POINTS)
        ]

    def steps(self, count: int) -> list[int]:
        """Return `count` evenly spaced steps from 0, the end of the warm-up and both ends of each
        phase."""
        plan, schedule = self.plan, self.optim.schedule
        last = plan.total_steps - 1
        steps = {round(last * number / (count - 1)) for number in range(count)}
        if schedule.clock == "steps":
            steps.add(min(last, max(0, warmup_length(schedule, plan.total_steps) - 1)))
        steps |= {phase.first_step for phase in plan.phases}
        steps |= {phase.first_step + phase.num_steps - 1 for phase in plan.phases}
        return sorted(steps)

    def rates(self, count: int) -> list[float]:
        """Return the learning rate at the middle of each of `count` equal slices of the stage."""
        steps = (int((number + 0.5) * self.plan.total_steps / count) for number in range(count))
        return [planned_lr(self.plan, self.optim, step) for step in steps]


def stage_plan(stage: StageSettings, recipe: Recipe) -> StagePlan:
    """Return a stage's plan; if its budget is not known yet, a nominal one with all phases."""
    optim = stage_optim(recipe.optim, stage)
    plan = counted_plan(recipe, stage)
    if plan is not None:
        return StagePlan(stage, optim, plan, counted=True)
    tokens, plan = NOMINAL_TOKENS, Plan(())
    while len({phase.index for phase in plan.phases}) < len(stage.curriculum):
        plan = make_stage_plan(recipe, stage, tokens=tokens)
        tokens *= 4
    return StagePlan(stage, optim, plan, counted=False)


def plan_facts(plans: Sequence[StagePlan]) -> dict[str, Any]:
    """Return total tokens, sequences and steps, None if not known yet; phases; rate curve."""
    phases = [phase for plan in plans for phase in plan.phases()]
    known = all(plan.counted for plan in plans)
    totals = {
        f"total_{unit}": sum(phase[unit] for phase in phases) if known else None
        for unit in ("tokens", "sequences", "steps")
    }
    return {
        **totals,
        "phases": phases,
        "curve": [point for plan in plans for point in plan.curve()],
    }
