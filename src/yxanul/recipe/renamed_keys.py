"""Migration of renamed recipe keys, so that later versions can read the recipes of old runs.

In recipes written by users, an old name is an error that suggests the new one (`other_names.py`).
"""

from __future__ import annotations

from typing import Any

_SCHEDULE = {
    "floor_rate": "min_lr",
    "floor_fraction": "min_lr_fraction",
    "horizon": "schedule_unit",
}
RENAMED: dict[str, dict[str, str]] = {
    "optim": {
        "peak_rate": "peak_lr",
        "muon_rate": "muon_lr",
        "role_scales": "lr_scale_by_role",
        "clip": "grad_clip",
        "curvature_steps": "hessian_steps",
        "curvature_scale": "hessian_scale",
    },
    "optim.schedule": _SCHEDULE,
    "optim.role_scales": {"table": "embedding", "gain": "norm"},
    "stages.*.optim": {"peak_rate": "peak_lr"},
    "stages.*.optim.schedule": _SCHEDULE,
    "stages.*.curriculum.*": {
        "rate_scale": "lr_scale",
        "rows": "device_batch_size",
        "accumulation": "grad_accum_steps",
        "clip": "grad_clip",
    },
    "train": {
        "micro_batch": "micro_batch_size",
        "max_bad_steps": "max_skipped_steps",
    },
    "data": {"train_early": "overlap_prepare", "engine": "executor"},
}
"""{parent path (* for an index): {old key: current key}}."""

RENAMED_VALUES = {"train.attention": {"plain": "reference", "blocks": "cpu_blockwise"}}
"""{full key: {old value: current value}}."""


def with_current_names(recipe: Any, above: tuple[str, ...] = ()) -> Any:
    """Return a recipe's data with renamed keys and values replaced by the current ones."""
    if isinstance(recipe, list):
        return [with_current_names(one, (*above, "*")) for one in recipe]
    if isinstance(recipe, str):
        return RENAMED_VALUES.get(".".join(above), {}).get(recipe, recipe)
    if not isinstance(recipe, dict):
        return recipe
    if not above:
        recipe = _with_alerts(_with_decontaminate(recipe))
    names = RENAMED.get(".".join(above), {})
    if above == ("stages", "*", "gate") and "rules" not in recipe:
        return _rules_of(recipe)
    if above[:2] == ("data", "sources") and recipe.get("kind") == "plain":
        recipe = recipe | {"kind": "text"}
    return {
        names.get(key, key): with_current_names(one, (*above, str(key)))
        for key, one in recipe.items()
    }


def _rules_of(gate: dict[str, Any]) -> dict[str, Any]:
    """Convert an old gate to rules; it had limits by kind and domain, and `progress` and
    `forgetting` for all domains."""
    rules = [
        {"metric": f"val/{domain}/{figure}"} | limit
        for figure in ("bits_per_byte", "perplexity")
        for domain, limit in gate.get(figure, {}).items()
    ]
    progress, forgetting = gate.get("progress", {}), gate.get("forgetting", {})
    defaults = [{}, {"at_most": 1.0}], [{}, {"at_most": 1.5}]
    if progress in defaults[0] and forgetting in defaults[1]:
        return {"rules": rules}
    for limit, against, default in ((progress, "start", 1.0), (forgetting, "best", 1.5)):
        if limit is not None:
            rules.append(
                {"metric": "val/*/perplexity", "at_most": default, "against": against} | limit
            )
    return {"rules": rules, "default_rules": False}


def _with_alerts(recipe: dict[str, Any]) -> dict[str, Any]:
    """Move what skips spikes from `train` to `monitor`, where alerts were true or false."""
    train, monitor = dict(recipe.get("train", {})), dict(recipe.get("monitor", {}))
    if isinstance(was_on := monitor.get("alerts"), bool):
        monitor["alerts"] = {} if was_on else {"all": "off"}
    for name in ("skip_spikes", "skip_outliers"):
        if (spikes := train.pop(name, None)) is not None:
            monitor["alerts"] = monitor.get("alerts", {}) | {"loss_spike": "skip"}
            monitor["spikes"] = spikes
    sections = {"train": train, "monitor": monitor}
    return recipe | {
        name: section for name, section in sections.items() if name in recipe or section
    }


def _with_decontaminate(recipe: dict[str, Any]) -> dict[str, Any]:
    """Move the benchmarks from `eval` to `data.decontaminate`."""
    data, evaluation = recipe.get("data", {}), recipe.get("eval", {})
    if not isinstance(data.get("decontaminate"), bool) and "benchmarks" not in evaluation:
        return recipe
    benchmarks = evaluation.get("benchmarks") if data.get("decontaminate", True) else None
    decontaminate = {"benchmarks": benchmarks} if benchmarks else None
    kept = {key: value for key, value in evaluation.items() if key != "benchmarks"}
    return recipe | {"data": data | {"decontaminate": decontaminate}, "eval": kept}
