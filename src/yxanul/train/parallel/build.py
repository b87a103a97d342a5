"""The table of strategies, and the one way to make an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.tables import pick
from yxanul.base.ui import Ui
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import EmaSettings
from yxanul.train.config import TrainSettings
from yxanul.train.engine import Engine, make_twin, set_up
from yxanul.train.parallel.world import World


@dataclass(frozen=True)
class Plant:
    """What an engine is made from."""

    model: LanguageModel
    """On its device, with its weights: the same in every process."""
    settings: TrainSettings
    precision: str
    ema: EmaSettings | None
    world: World
    ui: Ui


def _alone(plant: Plant) -> Engine:
    twin = make_twin(plant.model, plant.settings, plant.precision, plant.ui)
    return Engine(twin, plant.world, plant.ema)


def _ddp(plant: Plant) -> Engine:
    from yxanul.train.parallel.ddp import DdpEngine

    twin = make_twin(plant.model, plant.settings, plant.precision, plant.ui)
    return DdpEngine(twin, plant.world, plant.ema)


def _fsdp(plant: Plant) -> Engine:
    from yxanul.train.parallel.fsdp import FsdpEngine, ShardedTwin

    set_up(plant.model, plant.settings, plant.ui)
    twin = ShardedTwin(plant.model, plant.precision, plant.world)
    return FsdpEngine(twin, plant.world, plant.ema)


def _deepspeed(plant: Plant) -> Engine:
    from yxanul.train.parallel.zero_config import merged, read_config

    path, world = plant.settings.deepspeed, plant.world
    num_weights = sum(weight.numel() for weight in plant.model.parameters())
    found = merged(read_config(path), plant.precision, world.size, num_weights)
    if found.overridden and world.is_first:
        keys = ", ".join(found.overridden)
        plant.ui.say(f"the recipe decides, or yxanul itself, instead of {path}: {keys}")
    if found.stage == 0:
        if world.is_first:
            plant.ui.say(f"{path} has ZeRO stage 0, which divides nothing: training goes by ddp")
        return _ddp(plant)
    from yxanul.train.parallel.zero import DeepspeedEngine

    twin = make_twin(plant.model, plant.settings, plant.precision, plant.ui)
    return DeepspeedEngine(twin, world, plant.ema, found.config)


STRATEGIES: dict[str, Callable[[Plant], Engine]] = {
    "alone": _alone,
    "ddp": _ddp,
    "fsdp": _fsdp,
    "deepspeed": _deepspeed,
}
"""By name: what makes the engine of one process; packages that one needs load when it is made."""


def make_engine(plant: Plant) -> Engine:
    """Return the engine for the strategy of the settings; one process has nothing to divide."""
    asked = plant.settings.strategy
    if plant.world.size == 1:
        if asked not in ("auto", "ddp"):
            plant.ui.warn(f"one process has nothing to divide: it trains without {asked}")
        return STRATEGIES["alone"](plant)
    _check_same_weights(plant.model, plant.world)
    return pick(STRATEGIES, "ddp" if asked == "auto" else asked, "strategy")(plant)


def _check_same_weights(model: LanguageModel, world: World) -> None:
    """Refuse to train copies that differ in any bit: they would never come together."""
    bits = (weight.detach().view(torch.int32) for weight in model.parameters())
    total = sum(int(one.sum(dtype=torch.int64)) for one in bits)
    if world.any(total != world.from_first(total)):
        raise YxanulError(
            "the processes do not begin from the same weights",
            hint="do all of them see the same run folder?",
        )
