"""The plan of a recipe as facts for the page of `yxanul.report`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yxanul.inspect.plan import StagePlan, plan_facts
from yxanul.recipe import Recipe, dump_recipe
from yxanul.report.curves import Chart, chart_list
from yxanul.report.facts import model_facts, page_facts
from yxanul.report.verdicts import finding_facts
from yxanul.stages.config import Rule, StageSettings
from yxanul.train.curriculum import planned_lr

POINTS_PER_STAGE = 200
CHARTS = (
    Chart("Learning rate", "", ("optim/learning_rate",)),
    Chart("Row length", "tokens a row", ("data/sequence_length",)),
    Chart("Mix", "share of tokens", ("mix/*",), percent=True),
)


def plan_page_facts(name: str, recipe: Recipe, plans: Sequence[StagePlan]) -> dict[str, Any]:
    """Return the facts of a recipe's plan: phases, learning rate, mix, gates."""
    facts, points, rates, spans = plan_facts(plans), [], [], []
    for number, one in enumerate(plans):
        for step in one.steps(POINTS_PER_STAGE):
            points.append(_place(plans, number, step + 1))
            rates.append(float(f"{planned_lr(one.plan, one.optim, step):.4g}"))
        for parts in one.parts():
            end = parts[-1].first_step + parts[-1].num_steps
            spans.append(
                {
                    "stage": one.stage.name,
                    "phase": parts[0].index,
                    "seq_len": parts[0].seq_len,
                    "from": _place(plans, number, parts[0].first_step),
                    "to": _place(plans, number, end),
                }
            )
    corners = [span[end] for span in spans for end in ("from", "to")]
    series: dict[str, dict[str, Any]] = {
        "optim/learning_rate": {"axis": 0, "y": rates},
        "data/sequence_length": {"axis": 1, "y": [s["seq_len"] for s in spans for _ in range(2)]},
        **_bands([phase["mix"] for phase in facts["phases"]]),
    }
    axes = [{unit: [p[unit] for p in ps] for unit in ps[0]} for ps in (points, corners)]
    run = {
        "name": name,
        "description": recipe.description,
        "status": "planned",
        "sentence": f"{len(plans)} stages, each with a gate at its end."
        if len(plans) > 1
        else "One stage, with a gate at its end.",
        "totals": {unit: facts[f"total_{unit}"] for unit in ("tokens", "sequences", "steps")},
        "stages": [_stage(plan) for plan in plans],
        "phases": facts["phases"],
        "spans": spans,
        "alerts": [
            {
                "name": f"gate of stage '{one.stage.name}'",
                "seen": f"{len(one.stage.gate.all_rules())} rules",
                "kind": "gate",
                **_place(plans, number, one.plan.total_steps),
            }
            for number, one in enumerate(plans)
        ],
        "curves": {"axes": axes, "series": series, "others": {}, "heat_maps": []},
        "model": _model(recipe),
        "recipe": dump_recipe(recipe),
    }
    return page_facts("plan", [run], chart_list(list(series), charts=CHARTS))


def _place(plans: Sequence[StagePlan], number: int, step: int) -> dict[str, float]:
    """Return the position after some steps of a stage.

    Where a budget depends on the machine or the data, it is a share of the plan, in which all
    stages count the same.
    """
    plan, before = plans[number].plan, [one.plan for one in plans[:number]]
    if not all(one.counted for one in plans):
        return {"share": (number + step / plan.total_steps) / len(plans)}
    return {
        "step": step + sum(one.total_steps for one in before),
        "tokens": plan.tokens_after(step) + sum(one.total_tokens for one in before),
    }


def _bands(mixes: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Return the band of each source in the mix: from the shares before it to those with it."""
    bands, lows = {}, [0.0] * len(mixes)
    for name in dict.fromkeys(name for mix in mixes for name in mix):
        highs = [
            low + mix.get(name, 0) / (sum(mix.values()) or 1)
            for low, mix in zip(lows, mixes, strict=True)
        ]
        # A phase has a corner at its beginning and one at its end.
        low, high = (
            [round(share, 5) for share in some for _ in range(2)] for some in (lows, highs)
        )
        bands[f"mix/{name}"] = {"axis": 1, "y": high, "low": low, "high": high, "fill": True}
        lows = highs
    return bands


def _stage(one: StagePlan) -> dict[str, Any]:
    stage, gate = one.stage, one.stage.gate
    return {
        "name": stage.name,
        "status": "planned",
        "steps": one.plan.total_steps if one.counted else None,
        "tokens": one.plan.total_tokens if one.counted else None,
        "seconds": None,
        "budget": _budget(stage),
        "findings": [_rule(rule) for rule in gate.all_rules()]
        + [_rule(rule, is_target=True) for rule in gate.targets],
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


def _model(recipe: Recipe) -> dict[str, Any]:
    """Return the model's shape, if neither the machine nor a tokenizer still has a say in it."""
    settings, tokenizer = recipe.model, recipe.tokenizer
    vocab_size = settings.vocab_size or getattr(tokenizer, "vocab_size", None)
    if settings.preset == "auto" or tokenizer is None or vocab_size is None:
        return {}
    return model_facts(settings.resolved(vocab_size), tokenizer.kind)
