"""The table of strategies, and the one way to make an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.base.ui import Ui
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import EmaSettings
from yxanul.train.config import TrainSettings
from yxanul.train.engine import Engine, make_mixed_precision, set_up
from yxanul.train.parallel.world import World


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is made from."""

    model: LanguageModel
    """On its device, with its weights: the same in every process."""
    settings: TrainSettings
    precision: str
    ema: EmaSettings | None
    world: World
    ui: Ui


def _single(spec: EngineSpec) -> Engine:
    mixed_precision = make_mixed_precision(spec.model, spec.settings, spec.precision, spec.ui)
    return Engine(mixed_precision, spec.world, spec.ema)


def _ddp(spec: EngineSpec) -> Engine:
    from yxanul.train.parallel.ddp import DdpEngine

    mixed_precision = make_mixed_precision(spec.model, spec.settings, spec.precision, spec.ui)
    return DdpEngine(mixed_precision, spec.world, spec.ema)


def _fsdp(spec: EngineSpec) -> Engine:
    from yxanul.train.parallel.fsdp import FsdpEngine, ShardedMixedPrecision

    set_up(spec.model, spec.settings, spec.ui)
    mixed_precision = ShardedMixedPrecision(spec.model, spec.precision, spec.world)
    return FsdpEngine(mixed_precision, spec.world, spec.ema)


def _deepspeed(spec: EngineSpec) -> Engine:
    from yxanul.train.parallel.deepspeed_config import merged, read_config

    path, world = spec.settings.deepspeed, spec.world
    num_weights = sum(weight.numel() for weight in spec.model.parameters())
    found = merged(read_config(path), spec.precision, world.size, num_weights)
    if found.overridden and world.is_main:
        keys = ", ".join(found.overridden)
        spec.ui.say(f"the recipe decides, or yxanul itself, instead of {path}: {keys}")
    if found.stage == 0:
        if world.is_main:
            spec.ui.say(f"{path} has ZeRO stage 0, which divides nothing: training goes by ddp")
        return _ddp(spec)
    from yxanul.train.parallel.deepspeed import DeepspeedEngine

    mixed_precision = make_mixed_precision(spec.model, spec.settings, spec.precision, spec.ui)
    return DeepspeedEngine(mixed_precision, world, spec.ema, found.config)


STRATEGIES: dict[str, Callable[[EngineSpec], Engine]] = {
    "single": _single,
    "ddp": _ddp,
    "fsdp": _fsdp,
    "deepspeed": _deepspeed,
}
"""By name: what makes the engine of one process; packages that one needs load when it is made."""


def make_engine(spec: EngineSpec) -> Engine:
    """Return the engine for the strategy of the settings; one process has nothing to divide."""
    asked = spec.settings.strategy
    if spec.world.size == 1:
        if asked not in ("auto", "ddp"):
            spec.ui.warn(f"one process has nothing to divide: it trains without {asked}")
        return STRATEGIES["single"](spec)
    _check_same_weights(spec.model, spec.world)
    return lookup(STRATEGIES, "ddp" if asked == "auto" else asked, "strategy")(spec)


def _check_same_weights(model: LanguageModel, world: World) -> None:
    """Refuse to train copies that differ in any bit: they would never come together."""
    bits = (weight.detach().view(torch.int32) for weight in model.parameters())
    total = sum(int(one.sum(dtype=torch.int64)) for one in bits)
    if world.any(total != world.broadcast(total)):
        raise YxanulError(
            "the processes do not begin from the same weights",
            hint="do all of them see the same run folder?",
        )
