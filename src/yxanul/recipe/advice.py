"""Keys and values of a recipe that alerts advise to change."""

from __future__ import annotations

from yxanul.optim.config import OptimSettings
from yxanul.recipe.recipe import Recipe
from yxanul.stages.config import stage_optim


def advice_values(recipe: Recipe, index: int) -> dict[str, str]:
    """Return the keys and values to paste in the advice of alerts in a stage."""
    stage = recipe.stages[index]
    optim, model = stage_optim(recipe.optim, stage), recipe.model
    return {
        "lower_lr": _rates(recipe, index, optim, 0.5),
        "higher_lr": _rates(recipe, index, optim, 2),
        "longer_warmup": _warmup(recipe, index, optim),
        "clip": _clips(recipe, index, optim, 0.5),
        "higher_clip": _clips(recipe, index, optim, 2),
        "weight_decay": f"optim.weight_decay={max(0.1, 2 * optim.weight_decay):g}",
        "larger_init": f"model.init_std={2 * model.init_std:g}",
    }


def _rates(recipe: Recipe, index: int, optim: OptimSettings, factor: float) -> str:
    """Return the learning rates times a factor, at the keys that decide them in a stage."""
    own = recipe.stages[index].optim.peak_lr is not None
    key = f"stages.{index}.optim" if own else "optim"
    text = f"{key}.peak_lr={factor * optim.peak_lr:.2g}"
    if recipe.optim.muon_lr is not None and not own:  # else four times peak_lr
        text += f" optim.muon_lr={factor * recipe.optim.muon_lr:.2g}"
    return text


def _clips(recipe: Recipe, index: int, optim: OptimSettings, factor: float) -> str:
    """Return the largest norms of gradients times a factor, at the keys that decide them; 1 where
    there is none."""
    phases = [phase.grad_clip for phase in recipe.stages[index].curriculum]
    own = [
        f"stages.{index}.curriculum.{number}.grad_clip={factor * clip:g}"
        for number, clip in enumerate(phases)
        if clip
    ]
    usual = f"optim.grad_clip={factor * optim.grad_clip if optim.grad_clip else 1:g}"
    return " ".join(own if all(phases) else [usual, *own])


def _warmup(recipe: Recipe, index: int, optim: OptimSettings) -> str:
    """Return twice the warm-up of a stage, at its key."""
    key = f"stages.{index}.optim" if recipe.stages[index].optim.schedule else "optim"
    for unit in ("steps", "tokens", "fraction"):
        if length := getattr(optim.schedule, f"warmup_{unit}"):
            return f"{key}.schedule.warmup_{unit}={2 * length:g}"
    return f"{key}.schedule.warmup_fraction=0.1"
