"""DeepSpeed ZeRO-1 and ZeRO-2: every rank updates a partition of the fp32 weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from yxanul.base.errors import YxanulError
from yxanul.model.language_model import LanguageModel
from yxanul.model.roles import parameter_roles
from yxanul.optim.build import build_optimizer
from yxanul.optim.clip import clip_tensors
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.ema import Ema
from yxanul.optim.state import load_optimizer, optimizer_tensors
from yxanul.optim.table import divided_by
from yxanul.train.engine import Engine, OptimizerState, Tensors
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.parallel.deepspeed_partitions import Partitions, divide, load_deepspeed
from yxanul.train.parallel.world import World


class DeepspeedEngine(Engine):
    """From `init_optimizer` on, DeepSpeed owns the weights, partitioned over the ranks.

    Before the first `init_optimizer` it behaves like `Engine`, with the whole model.
    """

    can_rehearse = False  # before `init_optimizer` nothing is sharded

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
        self._ema_settings, self._config = ema, config
        self._parts: Partitions | None = None
        self._book: torch.optim.Optimizer
        """Unsharded optimizer over the master's weights: names and state as in a checkpoint."""

    def init_optimizer(
        self, optim: OptimSettings, optimizer_state: OptimizerState | None = None
    ) -> None:
        """Partition the weights, and the state from a checkpoint, over the ranks."""
        if optim.name not in divided_by("deepspeed"):
            raise YxanulError(
                f"DeepSpeed's ZeRO flattens matrices, unsupported by optim.name {optim.name}",
                expected=" or ".join(divided_by("deepspeed")),
                hint="set optim.name=adamw, or train.strategy=ddp",
            )
        self._book = self.make_optimizer(optim)
        if optimizer_state is not None:
            load_optimizer(self._book, optimizer_state.tensors, optimizer_state.plain)
        model, roles = (
            self.mixed_precision.model,
            parameter_roles(self.mixed_precision.master_model),
        )
        self.optimizer = build_optimizer(model.named_parameters(), roles, optim)
        master = {name: weight.detach() for name, weight in self.trained().items()}
        mean = None if self.ema is None else self.ema.averages
        self._parts = parts = divide(model, self.optimizer, self._config, self.world)
        self.module = parts.engine
        parts.fill(parts.weights, master)
        self._divide_state(parts)
        if mean is not None:
            self._divide_mean(parts, mean)
        if not self.mixed_precision.is_master:
            for name in parts.names:
                self.trained()[name].data = torch.empty(0, device=self.device)

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Return nothing once DeepSpeed has concatenated and divided the weights."""
        return super().named_weights() if self._parts is None else {}

    def make_optimizer(self, optim: OptimSettings) -> torch.optim.Optimizer:
        """Return an optimizer over the whole weights, which are gathered for it."""
        self._unite()
        return super().make_optimizer(optim)

    def _divide_state(self, parts: Partitions) -> None:
        """Copy this rank's partition of the unsharded state into the optimizer."""
        whole = self._book.state
        by_name = {name: whole.get(weight) for name, weight in self.trained().items()}
        for number, flat in enumerate(parts.weights):
            state = by_name[parts.names_in(number)[0]]
            for key, value in (state or {}).items():
                self.optimizer.state[flat][key] = (
                    torch.zeros_like(flat, requires_grad=False)
                    if value.ndim
                    else value.to(flat.device, copy=True)
                )
        for key in {key for state in by_name.values() if state for key in state}:
            flats = [self.optimizer.state[flat][key] for flat in parts.weights]
            if flats[0].ndim:
                full = {name: state[key] for name, state in by_name.items() if state}
                parts.fill(flats, full)
        whole.clear()

    def _divide_mean(self, parts: Partitions, mean: Mapping[str, torch.Tensor]) -> None:
        assert self.ema is not None and self._ema_settings is not None
        done = self.ema.num_updates
        named = [(str(i), cast(nn.Parameter, flat)) for i, flat in enumerate(parts.weights)]
        self.ema = Ema(named, self._ema_settings.decay)
        self.ema.num_updates = done
        parts.fill(list(self.ema.averages.values()), mean)

    @torch.no_grad()
    def _unite(self) -> None:
        """Gather the whole model on every rank, as before the first stage."""
        parts = self._parts
        if parts is None:
            return
        means = None if self.ema is None else list(self.ema.averages.values())
        mean = {} if means is None else {name: parts.whole(name, means) for name in parts.names}
        weights = {name: parts.whole(name, parts.weights) for name in parts.names}
        parts.end()
        self._parts, self.module = None, self.mixed_precision.model
        models = dict(self.mixed_precision.model.named_parameters())
        for name, weight in self.trained().items():
            if name in weights:
                models[name].data = weights[name].to(self.device, models[name].dtype)
                weight.data = weights[name].to(self.device)
        if self.ema is not None and self._ema_settings is not None:
            done = self.ema.num_updates
            self.ema = Ema(self.trained().items(), self._ema_settings.decay)
            self.ema.load({**self.ema.averages, **mean}, done)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Accumulate gradients; ZeRO-2 reduces them at once, ZeRO-1 after the last micro-batch."""
        if self._parts is None:
            super().backward(loss, last)
            return
        self._parts.engine.set_gradient_accumulation_boundary(last)
        self._parts.engine.backward(loss, scale_wrt_gas=False)

    def clip(self, max_norm: float | None) -> float:
        """Clip this rank's gradients to the global norm; return the norm before clipping."""
        if self._parts is None:
            return super().clip(max_norm)
        return clip_tensors(self._parts.gradients(), max_norm, self.world.sum)

    def step(self) -> None:
        """Update each rank's partition and all-gather the weights."""
        assert self._parts is not None, "call init_optimizer before step"
        self._parts.engine.step()
        if self.ema is not None:
            self.ema.update()

    def zero_grad(self) -> None:
        """Clear the gradients of the step."""
        if self._parts is None:
            self.mixed_precision.master_model.zero_grad(set_to_none=True)
        else:
            self._parts.forget()

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Context manager: the model with the evaluation weights. Collective."""
        if self._parts is None:
            with super().eval_weights() as model:
                yield model
        elif self.ema is None:
            yield self.mixed_precision.model
        else:
            with self.ema.in_place(self._parts.refresh):
                yield self.mixed_precision.model

    def load_ema_into_weights(self) -> None:
        """Continue training from the EMA weights, if enabled."""
        if self._parts is None:
            super().load_ema_into_weights()
        elif self.ema is not None:
            self.ema.adopt()
            self._parts.refresh()

    def load_weights(self, tensors: Tensors) -> None:
        """Load full fp32 weights on every rank; `init_optimizer` partitions them again."""
        self._unite()
        super().load_weights(tensors)

    def load_mean(self, tensors: Tensors, num_updates: int) -> None:
        """Load the EMA weights that `weights` returned."""
        if self._parts is None:
            super().load_mean(tensors, num_updates)
        elif self.ema is not None:
            self.ema.num_updates = num_updates
            self._parts.fill(list(self.ema.averages.values()), tensors)

    def copy_of_model(self) -> MixedPrecision:
        """Return a copy that can be trained by one process. Collective."""
        if self._parts is None:
            return super().copy_of_model()
        ours, copy = (
            self.mixed_precision.model,
            LanguageModel(self.mixed_precision.master_model.settings).to(self.device),
        )
        copy.load_state_dict(self._state(self._parts, self._parts.weights))
        copy.attention_backend, copy.compiles = ours.attention_backend, ours.compiles
        copy.checkpoint_every = ours.checkpoint_every
        return MixedPrecision(copy, self.mixed_precision.precision)

    def weights(self) -> dict[str, Tensors]:
        """Return the full fp32 weights by file, on rank 0, like `Engine.weights`."""
        parts = self._parts
        if parts is None:
            return super().weights()
        files: dict[str, Tensors] = {"model": self._state(parts, parts.weights, only_first=True)}
        if self.ema is not None:
            means = list(self.ema.averages.values())
            files["ema"] = self._state(parts, means, only_first=True)
        return files

    def _state(
        self, parts: Partitions, flats: Sequence[torch.Tensor], only_first: bool = False
    ) -> dict[str, torch.Tensor]:
        """Return the model's state dict with its weights gathered from the partitions `flats`."""
        gathered: dict[int, torch.Tensor] = {}
        for name, weight in self.trained().items():
            if name in parts.names:
                full = parts.whole(name, flats)
                if self.world.is_main or not only_first:
                    gathered[id(weight)] = full
        state: dict[str, torch.Tensor] = self.mixed_precision.master_model.state_dict(
            keep_vars=True
        )
        return {name: gathered.get(id(value), value.detach()) for name, value in state.items()}

    def optimizer_state(self) -> OptimizerState:
        """Return the full optimizer state, on rank 0."""
        parts = self._parts
        assert parts is not None, "there is no optimizer state before init_optimizer"
        for number, flat in enumerate(parts.weights):
            for key, value in self.optimizer.state.get(flat, {}).items():
                flats = [self.optimizer.state[part].get(key, value) for part in parts.weights]
                for name in parts.names_in(number):
                    full = parts.whole(name, flats) if value.ndim else value.clone()
                    if self.world.is_main:
                        self._book.state[self.trained()[name]][key] = full
        tensors, plain = optimizer_tensors(self._book)
        self._book.state.clear()
        return OptimizerState(tensors, plain)
