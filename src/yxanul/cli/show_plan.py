"""`yxanul show RECIPE`: the plan of its stages, as a table and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from yxanul.cli.chart import area, parts_bar, shades_of
from yxanul.cli.output import make_ui
from yxanul.cli.pictures import table
from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import warmup_length
from yxanul.plan import preflight
from yxanul.recipe import Recipe, as_plain, check_tree, dump_recipe, read_tree, refuse
from yxanul.recipe.validation_errors import misfit_lines
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.plan import counted_plan, plan_tokens
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Phase, Plan, planned_lr

NOMINAL_TOKENS = 1_000_000_000
TERMINAL_WIDTH = 80
CURVE_HEIGHT = 8
CURVE_POINTS = 64
LEAST_MIX_WIDTH, MIX_WIDTH = 20, 40


@dataclass(frozen=True)
class StagePlan:
    """A stage with its optimizer settings and its plan."""

    stage: StageSettings
    optim: OptimSettings
    plan: Plan
    counted: bool
    """False if the budget depends on the machine or the data: only the plan's shape holds then."""


def show_recipe(name: str, overrides: list[str], full: bool = False) -> tuple[dict[str, Any], str]:
    """Return a resolved recipe and its plan as facts and text; `full` adds the recipe's YAML."""
    tree = read_tree(name, overrides)
    recipe = check_tree(tree)
    refuse(tree, [*preflight.of_schedules(recipe)])
    for line in misfit_lines(tree, [*preflight.of_text(recipe), *preflight.of_memory(recipe)]):
        make_ui().warn(line)
    plans = [plan_of(stage, recipe) for stage in recipe.stages]
    phases = [phase for plan in plans for phase in phases_of(plan)]
    known = all(plan.counted for plan in plans)
    totals = {
        f"total_{unit}": sum(phase[unit] for phase in phases) if known else None
        for unit in ("tokens", "sequences", "steps")
    }
    lines = [recipe.description, ""] if recipe.description else []
    lines += phase_table(phases)
    if known:
        lines.append("total: " + ", ".join(f"{n:,} {unit[6:]}" for unit, n in totals.items()))
    else:
        lines.append("total: known once minutes are measured or the data is prepared")
    lines += ["", *rate_picture(plans), *mix_picture(phases)]
    lines += ["", dump_recipe(recipe).rstrip()] if full else []
    curve = [point for plan in plans for point in curve_of(plan)]
    facts = {"recipe": as_plain(recipe), **totals, "phases": phases, "curve": curve}
    return facts, "\n".join(lines)


def plan_of(stage: StageSettings, recipe: Recipe) -> StagePlan:
    """Return a stage's plan; if its budget is not known yet, a nominal one with all phases."""
    optim = stage_optim(recipe.optim, stage)
    plan = counted_plan(stage, recipe.train, optim)
    nominal = plan or _nominal_plan(stage, recipe.train, optim)
    return StagePlan(stage, optim, nominal, counted=plan is not None)


def _nominal_plan(stage: StageSettings, train: TrainSettings, optim: OptimSettings) -> Plan:
    tokens, plan = NOMINAL_TOKENS, Plan(())
    while len({phase.index for phase in plan.phases}) < len(stage.curriculum):
        plan = plan_tokens(stage, train, optim, tokens)
        tokens *= 4
    return plan


def phases_of(stage_plan: StagePlan) -> list[dict[str, Any]]:
    """Return the phases of a stage; figures that depend on the machine or the data are None."""
    groups = groupby(stage_plan.plan.phases, key=lambda phase: phase.index)
    return [_phase_facts(stage_plan, list(group)) for _, group in groups]


def _phase_facts(stage_plan: StagePlan, group: Sequence[Phase]) -> dict[str, Any]:
    """Return a phase joined with the smaller last steps that make its token count exact."""
    phase, counted = group[0], stage_plan.counted
    return {
        "stage": stage_plan.stage.name,
        "phase": phase.index,
        "seq_len": phase.seq_len,
        "rows": phase.rows,
        "micro_rows": phase.micro_rows,
        "from_step": phase.first_step if counted or not phase.first_step else None,
        "steps": sum(part.num_steps for part in group) if counted else None,
        "tokens": sum(part.num_tokens for part in group) if counted else None,
        "sequences": sum(part.num_steps * part.rows for part in group) if counted else None,
        "lr_scale": phase.lr_scale,
        "clip": phase.clip,
        "mix": phase.mix,
    }


def phase_table(phases: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table with one row per phase."""
    names = ("stage", "phase", "seq_len", "rows", "from_step", "steps", "tokens")
    header = ("stage", "phase", "seq_len", "rows", "from step", "steps", "tokens")
    rows = [[_cell(phase[name]) for name in (*names, "lr_scale", "clip")] for phase in phases]
    return table((*header, "rate x", "clip"), rows)


def _cell(figure: str | float | None) -> str:
    if isinstance(figure, float):
        return f"{figure:g}"
    return "?" if figure is None else f"{figure:,}" if isinstance(figure, int) else figure


def curve_of(stage_plan: StagePlan) -> list[dict[str, Any]]:
    """Return points of a stage's learning-rate curve.

    They are evenly spaced, plus the end of the warm-up and both ends of each phase. `step` counts
    the stage's steps from 1, None if the budget is not known yet; `done` is the fraction of the
    stage completed after that step.
    """
    plan, schedule = stage_plan.plan, stage_plan.optim.schedule
    last, even = plan.total_steps - 1, range(CURVE_POINTS)
    steps = {round(last * number / (CURVE_POINTS - 1)) for number in even}
    if schedule.clock == "steps":
        steps.add(min(last, max(0, warmup_length(schedule, plan.total_steps) - 1)))
    steps |= {phase.first_step for phase in plan.phases}
    steps |= {phase.first_step + phase.num_steps - 1 for phase in plan.phases}
    return [
        {
            "stage": stage_plan.stage.name,
            "step": step + 1 if stage_plan.counted else None,
            "done": (step + 1) / plan.total_steps,
            "rate": planned_lr(plan, stage_plan.optim, step),
        }
        for step in sorted(steps)
    ]


def rate_picture(plans: Sequence[StagePlan]) -> list[str]:
    """Return a plot of the learning rate over the stages' steps."""
    most = max(point["rate"] for plan in plans for point in curve_of(plan))
    edge = len(f"{most:.3g}")
    widths = _widths(plans, TERMINAL_WIDTH - edge - 2)
    rates = [
        rate for plan, width in zip(plans, widths, strict=True) for rate in _sampled(plan, width)
    ]
    # The plot is as tall as the highest rate, which may lie between two samples.
    drawn = [line[:-1] for line in area([*rates, most], CURVE_HEIGHT)]
    lines = [f"learning rate{_peaks(plans)}"]
    for number, line in enumerate(drawn):
        label = f"{most:.3g}" if number == 0 else ""
        lines.append(f"{label:>{edge}} ┤{line}".rstrip())
    lines.append(f"{'0':>{edge}} └" + "".join("┬" + "─" * (width - 1) for width in widths))
    for labels in ([p.stage.name for p in plans], [_length(p) for p in plans]):
        cells = [f"{label:<{width}}" for label, width in zip(labels, widths, strict=True)]
        lines.append((" " * (edge + 2) + "".join(cells)).rstrip())
    return lines


def _peaks(plans: Sequence[StagePlan]) -> str:
    factors = {phase.lr_scale for plan in plans for phase in plan.plan.phases}
    return ", schedule x phase factor" if factors != {1.0} else ""


def _length(plan: StagePlan) -> str:
    return f"{plan.plan.total_steps:,} steps" if plan.counted else "? steps"


def _widths(plans: Sequence[StagePlan], total: int) -> list[int]:
    """Return each stage's width in columns: by its steps, but wide enough for its name."""
    known = all(plan.counted for plan in plans)
    steps = [plan.plan.total_steps if known else 1 for plan in plans]
    least = [max(len(plan.stage.name), len(_length(plan))) + 2 for plan in plans]
    free = max(0, total - sum(least))
    return [low + free * count // sum(steps) for low, count in zip(least, steps, strict=True)]


def _sampled(stage_plan: StagePlan, width: int) -> list[float]:
    """Return the learning rate at the middle of each of `width` equal slices of a stage."""
    plan = stage_plan.plan
    steps = (int((column + 0.5) * plan.total_steps / width) for column in range(width))
    return [planned_lr(plan, stage_plan.optim, step) for step in steps]


def mix_picture(phases: Sequence[dict[str, Any]]) -> list[str]:
    """Return a bar for each mix, with the phases that use it; nothing for a single source."""
    mixes = [_shares(phase["mix"]) for phase in phases]
    names = list(dict.fromkeys(name for mix in mixes for name in mix))
    if len(names) < 2:
        return []
    runs = [
        (mix, [phase for _, phase in run])
        for (_, mix), run in groupby(
            zip(mixes, phases, strict=True), key=lambda pair: (pair[1]["stage"], pair[0])
        )
    ]
    shades = shades_of(names)
    labels = [_phases_label(run) for _, run in runs]
    wide = max(map(len, labels))
    lines = ["", "mix by phase: " + "  ".join(f"{shades[name]} {name}" for name in names)]
    shares = [
        ", ".join(f"{name} {100 * share:.3g}%" for name, share in mix.items()) for mix, _ in runs
    ]
    free = TERMINAL_WIDTH - wide - 4 - max(map(len, shares))
    width = min(MIX_WIDTH, max(LEAST_MIX_WIDTH, free))
    for label, (mix, _), text in zip(labels, runs, shares, strict=True):
        bar = parts_bar(mix, shades, width) if mix else "?"
        lines.append(f"{label:<{wide}}  {bar}  {text}".rstrip())
    return lines


def _shares(mix: dict[str, float]) -> dict[str, float]:
    total = sum(mix.values())
    return {name: weight / total for name, weight in mix.items() if weight}


def _phases_label(run: Iterable[dict[str, Any]]) -> str:
    phases = list(run)
    first, last = phases[0]["phase"], phases[-1]["phase"]
    return f"{phases[0]['stage']} {first}" + (f"-{last}" if last > first else "")
