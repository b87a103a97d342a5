"""FSDP2: every process holds a part of each weight, and gathers those of a layer at its turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from yxanul.base.errors import YxanulError
from yxanul.data.batches import Batch
from yxanul.model.language_model import LanguageModel
from yxanul.optim.clip import clip_gradients
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.muon import Muon
from yxanul.optim.state import optimizer_tensors
from yxanul.optim.table import divided_by
from yxanul.train.engine import Engine, OptimizerState, Tensors
from yxanul.train.mixed_precision.scale import LossScale
from yxanul.train.mixed_precision.weights import DTYPES, MixedPrecision
from yxanul.train.parallel.row_shards import RowShards
from yxanul.train.parallel.world import World


class ShardedMixedPrecision(MixedPrecision):
    """The fp32 master alone, in shards: what is gathered of it is cast, so there is no second."""

    def __init__(self, model: LanguageModel, precision: str, world: World):
        if precision == "fp8":
            raise YxanulError(
                "fsdp does not train in fp8",
                hint="set train.strategy to ddp, or train.precision to bf16",
            )
        super().__init__(model, "fp32")
        self.precision = precision
        self.scale = LossScale() if precision == "fp16" else None
        self.sharded = _shard(model, DTYPES[precision], world)

    @torch.no_grad()
    def collect(self) -> None:
        """Divide the gradients of the step by the loss factor."""
        share = 1.0 / self.loss_factor
        for weight in self.master_model.parameters():
            if weight.grad is not None and share != 1.0:
                weight.grad.mul_(share)


def _shard(model: LanguageModel, dtype: torch.dtype, world: World) -> FSDPModule:
    """Shard each layer, and the rest as one; gradients are summed in fp32, not averaged."""
    mesh = init_device_mesh(model.embedding.tokens.device.type, (world.size,))
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype is torch.float32 else dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    parts: list[nn.Module] = [*model.layers(), model]
    for part in parts:
        fully_shard(part, mesh=mesh, mp_policy=policy)
        sharded = cast(FSDPModule, part)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    return cast(FSDPModule, model)


class FsdpEngine(Engine):
    """Trains this process's rows of the weights as plain tensors, so that any optimizer that goes
    element by element is the same as in one process.

    Muon's matrices are joined and made orthogonal in every process alike.
    """

    can_rehearse = False  # what one process tries, all have to

    def __init__(
        self, mixed_precision: ShardedMixedPrecision, world: World, ema: EmaSettings | None = None
    ):
        self._sharded = dict(mixed_precision.master_model.named_parameters())
        self._own = {name: nn.Parameter(_local(w)) for name, w in self._sharded.items()}
        shapes: dict[torch.Tensor, torch.Size] = {
            self._own[name]: weight.shape for name, weight in self._sharded.items()
        }
        self._shards, self._model = RowShards(shapes, world), mixed_precision.sharded
        super().__init__(mixed_precision, world, ema)

    def trained(self) -> dict[str, nn.Parameter]:
        """Return this process's rows of the weights."""
        return self._own

    def make_optimizer(self, optim: OptimSettings) -> torch.optim.Optimizer:
        """Return an optimizer over this process's rows."""
        if optim.name not in divided_by("fsdp"):
            raise YxanulError(
                f"fsdp does not train with {optim.name}",
                expected=", ".join(divided_by("fsdp")),
                hint="or set train.strategy to ddp",
            )
        optimizer = super().make_optimizer(optim)
        if isinstance(optimizer, Muon):
            optimizer.parts = self._shards
        return optimizer

    def init_optimizer(
        self, optim: OptimSettings, optimizer_state: OptimizerState | None = None
    ) -> None:
        """Make the optimizer of a stage, fresh or with this process's rows of a full state."""
        if optimizer_state is not None:
            optimizer_state = OptimizerState(
                self._own_rows(optimizer_state.tensors), optimizer_state.plain
            )
        super().init_optimizer(optim, optimizer_state)

    def _own_rows(self, wholes: Tensors) -> Tensors:
        """Return this process's rows of tensors as large as their weight, and all of others."""
        rows = {}
        for key, whole in wholes.items():
            weight = self._sharded.get(self._name(key))
            fits = weight is not None and whole.shape == weight.shape
            rows[key] = self._shards.own(whole) if fits else whole
        return rows

    def _name(self, key: str) -> str:
        """Return the weight that a tensor belongs to: its key, or what follows `<what>.` in it."""
        return key if key in self._own else key.partition(".")[2]

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of `Engine.loss`; the backward pass of the last one brings all sums."""
        self._model.set_requires_gradient_sync(last)
        return super().loss(batch, last)

    @torch.no_grad()
    def collect(self, last: bool) -> None:
        """Hand the gradients of the step over; before the last micro-batch FSDP keeps them."""
        if last:
            super().collect(last)
            for name, weight in self._sharded.items():
                if weight.grad is not None:
                    self._own[name].grad, weight.grad = _local(weight.grad), None

    def clip(self, max_norm: float | None) -> float:
        """Scale the gradients of the step down to their norm over all processes; return it."""
        return clip_gradients(self._own.values(), max_norm, self.world.sum)

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Give a model of its own with whole weights; all processes call it together."""
        weights = self.trained() if self.ema is None else self.ema.averages
        yield self._plain(weights, DTYPES[self.mixed_precision.precision])

    def copy_of_model(self) -> MixedPrecision:
        """Return a twin with whole weights, to train alone for a measurement."""
        mixed_precision = MixedPrecision(
            self._plain(self.trained(), torch.float32), self.mixed_precision.precision
        )
        ours = self.mixed_precision.model
        mixed_precision.model.attention_backend, mixed_precision.model.compiles = (
            ours.attention_backend,
            ours.compiles,
        )
        mixed_precision.model.checkpoint_every = ours.checkpoint_every
        return mixed_precision

    def weights(self) -> dict[str, Tensors]:
        """Return what `Engine.weights` does, on the CPU of the first process; elsewhere nothing."""
        files: dict[str, Tensors] = {"model": self._saved(self.trained())}
        if self.ema is not None:
            files["ema"] = self._saved(self.ema.averages)
        return files

    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state in full: in the first process; elsewhere only the plain."""
        tensors, plain = optimizer_tensors(self.optimizer)
        return OptimizerState(self._saved(tensors), plain)

    def load_mean(self, tensors: Tensors, num_updates: int) -> None:
        """Go on with this process's rows of a mean of the weights."""
        super().load_mean(self._own_rows(tensors), num_updates)

    @torch.no_grad()
    def _saved(self, parts: Mapping[str, torch.Tensor]) -> Tensors:
        """Join tensors that end in the name of a weight; scalars are the same everywhere."""
        wholes = {}
        for key, part in parts.items():
            whole = self._whole(self._name(key), part) if part.ndim else part
            if self.world.is_main:
                wholes[key] = whole.cpu()
        return wholes

    def _whole(self, name: str, part: torch.Tensor) -> torch.Tensor:
        return self._shards.joined([self._own[name]], [part])[0]

    @torch.no_grad()
    def _plain(self, parts: Mapping[str, torch.Tensor], dtype: torch.dtype) -> LanguageModel:
        """Return a plain model; what is joined is cast before, so that it is less to send."""
        model = LanguageModel(self.mixed_precision.master_model.settings).to(
            device=self.device, dtype=dtype
        )
        model.attention_backend = self.mixed_precision.model.attention_backend
        for name, weight in model.named_parameters():
            weight.copy_(self._whole(name, parts[name].to(dtype)))
        return model


def _local(weight: torch.Tensor) -> torch.Tensor:
    """Return this process's rows of a sharded tensor, in the same memory."""
    assert isinstance(weight, DTensor)
    return weight.to_local().detach()
