"""DeepSpeed ZeRO-1 and ZeRO-2: every rank updates a partition of the fp32 weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from yxanul.base.errors import YxanulError
from yxanul.optim.clip import clip_gradients
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.groups import build_optimizer
from yxanul.optim.state import load_optimizer, optimizer_tensors
from yxanul.train.engine import Engine, OptimizerState, Tensors
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.parallel.deepspeed_partitions import Partitions, divide, load_deepspeed
from yxanul.train.parallel.world import World


class DeepspeedEngine(Engine):
    """From `init_optimizer` on, DeepSpeed owns the weights, partitioned over the ranks.

    Before the first `init_optimizer` it behaves like `Engine`, with the whole model.
    """

    can_probe = False  # before `init_optimizer` nothing is sharded

    def __init__(
        self,
        mixed_precision: MixedPrecision,
        world: World,
        ema: EmaSettings | None,
        config: Mapping[str, Any],
    ):
        if mixed_precision.precision not in ("fp32", "bf16"):
            raise YxanulError(
                f"strategy deepspeed does not support {mixed_precision.precision}",
                expected="train.precision fp32 or bf16",
                hint="or set train.strategy=ddp",
            )
        super().__init__(mixed_precision, world, ema)
        load_deepspeed(self.device.type)  # fail early if it is not installed
        self._config = config
        self._parts: Partitions | None = None
        self._book: torch.optim.Optimizer
        """Unsharded optimizer over the master's weights: names and state as in a checkpoint."""

    def init_optimizer(
        self, optim: OptimSettings, optimizer_state: OptimizerState | None = None
    ) -> None:
        """Partition the weights, and the state from a checkpoint, over the ranks."""
        self._unite()
        self._book = self.make_optimizer(optim)
        if optimizer_state is not None:
            load_optimizer(self._book, optimizer_state.tensors, optimizer_state.plain)
        model, master = self.mixed_precision.model, self.mixed_precision.master_model
        self.optimizer = build_optimizer(model.named_parameters(), master.parameter_roles(), optim)
        weights = {name: weight.detach() for name, weight in self.trained().items()}
        self._parts = parts = divide(model, self.optimizer, self._config, self.world)
        self.module = parts.engine
        parts.fill(parts.weights, weights)
        self._divide_state(parts)
        if self.ema is not None:
            named = {str(i): cast(nn.Parameter, flat) for i, flat in enumerate(parts.weights)}
            means, self.ema = self.ema, self.ema.over(named)
            parts.fill(list(self.ema.averages.values()), means.averages)
        if not self.mixed_precision.is_master:
            for name in parts.names:
                self.trained()[name].data = torch.empty(0, device=self.device)

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Return nothing once DeepSpeed has concatenated and divided the weights."""
        return super().named_weights() if self._parts is None else {}

    def _divide_state(self, parts: Partitions) -> None:
        """Copy this rank's partition of the unsharded state into the optimizer."""
        states = {name: self._book.state.get(weight, {}) for name, weight in self.trained().items()}
        for number, flat in enumerate(parts.weights):
            for key, value in states[parts.names_in(number)[0]].items():
                self.optimizer.state[flat][key] = (
                    torch.zeros_like(flat, requires_grad=False)
                    if value.ndim
                    else value.to(flat.device, copy=True)
                )
        keys = {key for state in states.values() for key, value in state.items() if value.ndim}
        for key in keys:
            flats = [self.optimizer.state[flat][key] for flat in parts.weights]
            parts.fill(flats, {name: state[key] for name, state in states.items() if state})
        self._book.state.clear()

    @torch.no_grad()
    def _unite(self) -> None:
        """Gather the whole model on every rank, as before the first stage."""
        if self._parts is None:
            return
        files = self.weights()
        self._parts.end()
        self._parts, self.module = None, self.mixed_precision.model
        models = dict(self.mixed_precision.model.named_parameters())
        for name, weight in self.trained().items():
            full = files["model"][name]
            models[name].data = full.to(self.device, models[name].dtype)
            weight.data = full.to(self.device)
        if self.ema is not None:
            self.ema = self.ema.over(self.trained())
            self.ema.load(files["ema"], self.ema.num_updates)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Accumulate gradients; ZeRO-2 reduces them at once, ZeRO-1 after the last micro-batch."""
        self.parts.engine.set_gradient_accumulation_boundary(last)
        self.parts.engine.backward(loss, scale_wrt_gas=False)

    def clip(self, max_norm: float | None) -> float:
        """Clip this rank's gradients to the global norm; return the norm before clipping."""
        return clip_gradients(self.parts.gradients(), max_norm, self.world.sum)

    def step(self) -> None:
        """Update each rank's partition and all-gather the weights."""
        self.parts.engine.step()
        if self.ema is not None:
            self.ema.update()

    def zero_grad(self) -> None:
        """Clear the gradients as DeepSpeed does after an update, of one without effect."""
        attributes = vars(self.optimizer)
        attributes["step"] = lambda: None
        try:
            self.parts.engine.step()
        finally:
            del attributes["step"]

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the fp32 weights into the model. Collective."""
        if self._parts is None:
            super().refresh()
        else:
            self._parts.zero.update_lp_params()

    @property
    def parts(self) -> Partitions:
        """This rank's partitions."""
        assert self._parts is not None, "call init_optimizer first"
        return self._parts

    def load_weights(self, tensors: Tensors) -> None:
        """Load full fp32 weights on every rank; `init_optimizer` partitions them again."""
        self._unite()
        super().load_weights(tensors)

    def weights(self) -> dict[str, Tensors]:
        """Return the full fp32 weights by file, on every rank, like `Engine.weights`."""
        parts = self._parts
        if parts is None:
            return super().weights()
        flats = {"model": parts.weights}
        if self.ema is not None:
            flats["ema"] = list(self.ema.averages.values())
        return {
            file: {
                name: parts.whole(name, own) if name in parts.names else weight.detach()
                for name, weight in self.trained().items()
            }
            for file, own in flats.items()
        }

    def optimizer_state(self) -> OptimizerState:
        """Return the full optimizer state, on rank 0."""
        parts, tensors = self.parts, {}
        for number, flat in enumerate(parts.weights):
            for key, value in self.optimizer.state.get(flat, {}).items():
                flats = [self.optimizer.state[part].get(key, value) for part in parts.weights]
                for name in parts.names_in(number):
                    full = parts.whole(name, flats) if value.ndim else value.clone()
                    if self.world.is_main:
                        tensors[f"{key}.{name}"] = full
        _, plain = optimizer_tensors(self._book)
        return OptimizerState(tensors, plain)
