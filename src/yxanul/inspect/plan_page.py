"""The plan of a recipe as facts for the page of `yxanul.report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from yxanul.inspect.plan import StagePlan, plan_facts
from yxanul.recipe import Recipe, dump_recipe
from yxanul.report.facts import model_facts
from yxanul.report.verdicts import finding_facts
from yxanul.stages.config import Rule, StageSettings
from yxanul.train.curriculum import Phase, planned_lr

POINTS_PER_STAGE = 200


def plan_page_facts(name: str, recipe: Recipe, plans: Sequence[StagePlan]) -> dict[str, Any]:
    """Return the facts of a recipe's plan: phases, learning rate, mix, gates.

    Where a budget depends on the machine or the data, positions are shares of the plan, in which
    all stages count the same.
    """
    facts, axes = plan_facts(plans), _Axes(plans)
    mixes = (phase.mix for plan in plans for phase in plan.plan.phases)
    names = list(dict.fromkeys(source for mix in mixes for source in mix))
    series = {"learning_rate": _rates(plans, axes), "seq_len": _lengths(plans, axes)}
    series |= {f"mix/{source}": _shares(plans, axes, source, names) for source in names}
    run = {
        "name": name,
        "description": recipe.description or "",
        "status": "planned",
        "sentence": f"{len(plans)} stages, each with a gate at its end."
        if len(plans) > 1
        else "One stage, with a gate at its end.",
        "totals": {unit: facts[f"total_{unit}"] for unit in ("tokens", "sequences", "steps")},
        "stages": [_stage(plan) for plan in plans],
        "phases": facts["phases"],
        "spans": [span for plan in plans for span in _spans(plan, axes)],
        "alerts": [_gate(plan, axes) for plan in plans],
        "curves": {"axes": axes.found, "series": series, "others": {}, "heat_maps": []},
        "model": _model(recipe),
        "recipe": dump_recipe(recipe),
    }
    return {
        "schema_version": 1,
        "kind": "plan",
        "yxanul": version("yxanul"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": [run],
        "charts": [
            _chart("Learning rate", "", {"learning_rate": "learning rate"}),
            _chart("Row length", "tokens", {"seq_len": "tokens a row"}),
            _chart("Mix", "share of tokens", {f"mix/{one}": one for one in names}, percent=True),
        ],
        "other_charts": [],
        "differences": [],
    }


class _Axes:
    """Positions in a plan of several stages, in steps and tokens if they are known."""

    def __init__(self, plans: Sequence[StagePlan]):
        self._plans = {plan.stage.name: (number, plan) for number, plan in enumerate(plans)}
        self._are_known = all(plan.counted for plan in plans)
        self._before = [(0, 0)]
        for plan in plans:
            steps, tokens = self._before[-1]
            self._before.append((steps + plan.plan.total_steps, tokens + plan.plan.total_tokens))
        self.found: list[dict[str, list[float]]] = []

    def at(self, stage: str, step: int) -> dict[str, float]:
        """Return the position after some steps of a stage."""
        number, one = self._plans[stage]
        steps, tokens = self._before[number]
        if not self._are_known:
            return {"share": (number + step / one.plan.total_steps) / len(self._plans)}
        return {"step": steps + step, "tokens": tokens + one.plan.tokens_after(step)}

    def add(self, positions: Sequence[dict[str, float]]) -> int:
        """Add an axis of a series; return its number."""
        self.found.append({unit: [one[unit] for one in positions] for unit in positions[0]})
        return len(self.found) - 1


def _phases(plan: StagePlan) -> Iterator[tuple[Phase, int]]:
    """Yield each phase's first part, and the stage's step after its last one."""
    for parts in plan.parts():
        yield parts[0], parts[-1].first_step + parts[-1].num_steps


def _spans(plan: StagePlan, axes: _Axes) -> Iterator[dict[str, Any]]:
    name = plan.stage.name
    for phase, end in _phases(plan):
        yield {
            "stage": name,
            "phase": phase.index,
            "seq_len": phase.seq_len,
            "from": axes.at(name, phase.first_step),
            "to": axes.at(name, end),
        }


def _rates(plans: Sequence[StagePlan], axes: _Axes) -> dict[str, Any]:
    positions, rates = [], []
    for plan in plans:
        for step in plan.steps(POINTS_PER_STAGE):
            positions.append(axes.at(plan.stage.name, step + 1))
            rates.append(float(f"{planned_lr(plan.plan, plan.optim, step):.4g}"))
    return {"axis": axes.add(positions), "y": rates}


def _lengths(plans: Sequence[StagePlan], axes: _Axes) -> dict[str, Any]:
    parts = [(plan, phase, end) for plan in plans for phase, end in _phases(plan)]
    return {
        "axis": axes.add(_corners(parts, axes)),
        "y": [p.seq_len for _, p, _ in parts for _ in "ab"],
    }


def _shares(
    plans: Sequence[StagePlan], axes: _Axes, source: str, names: Sequence[str]
) -> dict[str, Any]:
    """Return the band of a source in the mix: from the shares before it to those with it."""
    parts = [(plan, phase, end) for plan in plans for phase, end in _phases(plan)]
    low, high = [], []
    for _, phase, _ in parts:
        total = sum(phase.mix.values()) or 1
        before = sum(phase.mix.get(name, 0) for name in names[: names.index(source)])
        low += 2 * [round(float(before / total), 5)]
        high += 2 * [round(float((before + phase.mix.get(source, 0)) / total), 5)]
    axis = axes.add(_corners(parts, axes))
    return {"axis": axis, "y": high, "low": low, "high": high, "fill": True}


def _corners(parts: Sequence[tuple[StagePlan, Any, int]], axes: _Axes) -> list[dict[str, float]]:
    """Return where each phase begins and where it ends."""
    return [
        axes.at(plan.stage.name, step)
        for plan, phase, end in parts
        for step in (phase.first_step, end)
    ]


def _stage(plan: StagePlan) -> dict[str, Any]:
    stage, steps = plan.stage, plan.plan.total_steps
    return {
        "name": stage.name,
        "status": "planned",
        "steps": steps if plan.counted else None,
        "tokens": plan.plan.total_tokens if plan.counted else None,
        "seconds": None,
        "budget": _budget(stage),
        "findings": [_rule(rule) for rule in stage.gate.all_rules()]
        + [_rule(rule, is_target=True) for rule in stage.gate.targets],
        "actions": [],
        "domains": [],
    }


def _budget(stage: StageSettings) -> str:
    given = stage.budget.model_dump(exclude_none=True)
    return ", ".join(f"budget: {value:,} {unit}" for unit, value in given.items())


def _rule(rule: Rule, is_target: bool = False) -> dict[str, Any]:
    bound, limit = rule.bound
    finding = {"metric": rule.metric, "against": rule.against, "bound": bound, "limit": limit}
    return finding_facts(finding | {"is_target": is_target}) | {"measured": ""}


def _gate(plan: StagePlan, axes: _Axes) -> dict[str, Any]:
    count = len(list(plan.stage.gate.all_rules()))
    where = axes.at(plan.stage.name, plan.plan.total_steps)
    name = f"gate of stage '{plan.stage.name}'"
    return {"name": name, "seen": f"{count} rules", "kind": "gate", **where}


def _model(recipe: Recipe) -> dict[str, Any]:
    """Return the model's shape, if neither the machine nor a tokenizer still has a say in it."""
    settings, tokenizer = recipe.model, recipe.tokenizer
    vocab_size = settings.vocab_size or getattr(tokenizer, "vocab_size", None)
    if settings.preset == "auto" or tokenizer is None or vocab_size is None:
        return {}
    return model_facts(settings.resolved(vocab_size), tokenizer.kind)


def _chart(title: str, unit: str, labels: dict[str, str], percent: bool = False) -> dict[str, Any]:
    return {
        "title": title,
        "unit": unit,
        "noisy": False,
        "log": False,
        "percent": percent,
        "series": [{"name": name, "label": label} for name, label in labels.items()],
    }
