"""Table of strategies, and the factory of engines."""

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
    """Arguments for creating an engine."""

    model: LanguageModel
    """On its device, with its weights: identical on all ranks."""
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
    zero = merged(read_config(path), spec.precision, world.size, num_weights)
    if zero.overridden and world.is_main:
        keys = ", ".join(zero.overridden)
        spec.ui.say(f"overriding keys of {path} with the recipe's or fixed values: {keys}")
    if zero.stage == 0:
        if world.is_main:
            spec.ui.say(f"{path} has ZeRO stage 0, which shards nothing: training with ddp")
        return _ddp(spec)
    from yxanul.train.parallel.deepspeed import DeepspeedEngine

    mixed_precision = make_mixed_precision(spec.model, spec.settings, spec.precision, spec.ui)
    return DeepspeedEngine(mixed_precision, world, spec.ema, zero.config)


STRATEGIES: dict[str, Callable[[EngineSpec], Engine]] = {
    "single": _single,
    "ddp": _ddp,
    "fsdp": _fsdp,
    "deepspeed": _deepspeed,
}
"""Engine factories by strategy; optional packages are imported only when needed."""


def make_engine(spec: EngineSpec) -> Engine:
    """Return the engine for the settings' strategy, or `Engine` if there is only one process."""
    strategy = spec.settings.strategy
    if spec.world.size == 1:
        if strategy not in ("auto", "ddp"):
            spec.ui.warn(f"strategy {strategy} needs several processes; training without it")
        return STRATEGIES["single"](spec)
    _check_same_weights(spec.model, spec.world)
    return lookup(STRATEGIES, "ddp" if strategy == "auto" else strategy, "strategy")(spec)


def _check_same_weights(model: LanguageModel, world: World) -> None:
    """Raise if the weights differ between ranks in any bit: the replicas would never converge."""
    bits = (weight.detach().view(torch.int32) for weight in model.parameters())
    total = sum(int(weight.sum(dtype=torch.int64)) for weight in bits)
    if world.any(total != world.broadcast(total)):
        raise YxanulError(
            "the processes start from different weights",
            hint="check that all of them see the same run folder",
        )
