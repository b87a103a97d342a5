"""`yxanul show RECIPE`: the plan of its stages, as a table and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.cli.output import make_ui
from yxanul.cli.pictures import area, parts_bar, shades_of, table
from yxanul.inspect.plan import StagePlan, plan_facts, stage_plan
from yxanul.plan import preflight
from yxanul.recipe import (
    as_plain,
    check_tree,
    dump_recipe,
    load_with_preset,
    read_tree,
    refuse,
)
from yxanul.recipe.validation_errors import misfit_lines

TERMINAL_WIDTH = 80
CURVE_HEIGHT = 8
LEAST_MIX_WIDTH, MIX_WIDTH = 20, 40


def show_recipe(
    name: str, overrides: list[str], full: bool = False, html: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Return a resolved recipe and its plan as facts and text; `full` adds the recipe's YAML.

    With `html`, the plan is also written to that file, as a page.
    """
    tree = read_tree(name, overrides)
    recipe = check_tree(tree)
    refuse(tree, [*preflight.of_schedules(recipe)])
    for line in misfit_lines(tree, [*preflight.of_text(recipe), *preflight.of_memory(recipe)]):
        make_ui().warn(line)
    plans = [stage_plan(stage, recipe) for stage in recipe.stages]
    facts = plan_facts(plans)
    lines = [recipe.description, ""] if recipe.description else []
    if recipe.model.preset == "auto":
        from yxanul.stages.data import text_tokens
        from yxanul.stages.measure import compare_presets, describe_presets

        run = RunFolder(Path("runs") / Path(name).stem)
        candidates = compare_presets(
            partial(load_with_preset, name, overrides, None),
            text_tokens=text_tokens(run, recipe, make_ui()),  # if encoded there
        )
        facts["presets"] = [asdict(one) for one in candidates]
        lines += [f"model on this machine: {describe_presets(candidates)}", ""]
    lines += phase_table(facts["phases"])
    if facts["total_tokens"] is not None:
        totals = (f"{facts[f'total_{unit}']:,} {unit}" for unit in ("tokens", "sequences", "steps"))
        lines.append(f"total: {', '.join(totals)}")
    else:
        lines.append("total: known once minutes are measured or the data is prepared")
    most = max(point["rate"] for point in facts["curve"])
    lines += ["", *rate_picture(plans, most), *mix_picture(facts["phases"])]
    lines += ["", dump_recipe(recipe).rstrip()] if full else []
    if html is not None:
        from yxanul.inspect.plan_page import plan_page_facts
        from yxanul.report.page import render

        write_text(html, render(plan_page_facts(Path(name).stem, recipe, plans)))
        facts["path"] = str(html)
        lines += ["", f"wrote {html}"]
    return {"recipe": as_plain(recipe), **facts}, "\n".join(lines)


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


def rate_picture(plans: Sequence[StagePlan], most: float) -> list[str]:
    """Return a plot of the learning rate over the stages' steps; `most` is the highest."""
    edge = len(f"{most:.3g}")
    widths = _widths(plans, TERMINAL_WIDTH - edge - 2)
    pairs = list(zip(plans, widths, strict=True))
    rates = [rate for plan, width in pairs for rate in plan.rates(width)]
    # The plot is as tall as the highest rate, which may lie between two samples.
    drawn = [line[:-1] for line in area([*rates, most], CURVE_HEIGHT)]
    factors = {phase.lr_scale for plan in plans for phase in plan.plan.phases}
    lines = ["learning rate" + ("" if factors == {1.0} else ", schedule x phase factor")]
    for number, line in enumerate(drawn):
        label = f"{most:.3g}" if number == 0 else ""
        lines.append(f"{label:>{edge}} ┤{line}".rstrip())
    lines.append(f"{'0':>{edge}} └" + "".join("┬" + "─" * (width - 1) for width in widths))
    for cells in (
        [f"{plan.stage.name:<{width}}" for plan, width in pairs],
        [f"{_length(plan):<{width}}" for plan, width in pairs],
    ):
        lines.append((" " * (edge + 2) + "".join(cells)).rstrip())
    return lines


def _length(plan: StagePlan) -> str:
    return f"{plan.plan.total_steps:,} steps" if plan.counted else "? steps"


def _widths(plans: Sequence[StagePlan], total: int) -> list[int]:
    """Return each stage's width in columns: by its steps, but wide enough for its name."""
    known = all(plan.counted for plan in plans)
    steps = [plan.plan.total_steps if known else 1 for plan in plans]
    least = [max(len(plan.stage.name), len(_length(plan))) + 2 for plan in plans]
    free = max(0, total - sum(least))
    return [low + free * count // sum(steps) for low, count in zip(least, steps, strict=True)]


def mix_picture(phases: Sequence[dict[str, Any]]) -> list[str]:
    """Return a bar for each mix, with the phases that use it; nothing for a single source."""
    rows = []
    for (stage, mix), run in groupby(phases, lambda one: (one["stage"], _shares(one["mix"]))):
        numbers = [phase["phase"] for phase in run]
        label = f"{stage} {numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
        shares = ", ".join(f"{name} {100 * share:.3g}%" for name, share in mix.items())
        rows.append((label, mix, shares))
    names = list(dict.fromkeys(name for _, mix, _ in rows for name in mix))
    if len(names) < 2:
        return []
    shades = shades_of(names)
    label_width, shares_width = (max(len(row[column]) for row in rows) for column in (0, 2))
    width = min(MIX_WIDTH, max(LEAST_MIX_WIDTH, TERMINAL_WIDTH - label_width - 4 - shares_width))
    lines = ["", "mix by phase: " + "  ".join(f"{shades[name]} {name}" for name in names)]
    for label, mix, shares in rows:
        bar = parts_bar(mix, shades, width) if mix else "?"
        lines.append(f"{label:<{label_width}}  {bar}  {shares}".rstrip())
    return lines


def _shares(mix: dict[str, float]) -> dict[str, float]:
    total = sum(mix.values())
    return {name: weight / total for name, weight in mix.items() if weight}
