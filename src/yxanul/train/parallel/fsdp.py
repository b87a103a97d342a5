"""FSDP2: every rank holds a shard of each weight and all-gathers them layer by layer."""

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
    """The sharded fp32 master; gathered weights are cast, so there is no low-precision copy."""

    def __init__(self, model: LanguageModel, precision: str, world: World):
        if precision == "fp8":
            raise YxanulError(
                "strategy fsdp does not support fp8",
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
    """Shard each layer, and the rest as one unit; gradients are summed in fp32, not averaged."""
    mesh = init_device_mesh(model.embedding.tokens.device.type, (world.size,))
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype is torch.float32 else dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    modules: list[nn.Module] = [*model.layers(), model]
    for module in modules:
        fully_shard(module, mesh=mesh, mp_policy=policy)
        sharded = cast(FSDPModule, module)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    return cast(FSDPModule, model)


class FsdpEngine(Engine):
    """Trains this rank's shards (rows) as plain tensors, so that any element-wise optimizer gives
    the same result as in one process.

    Muon's matrices are gathered and orthogonalized on every rank.
    """

    can_rehearse = False  # a step is collective
    is_sharded = True

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
        """Return this rank's shards of the weights."""
        return self._own

    def first_row(self, name: str) -> int:
        """Return which row of the full weight is this rank's first."""
        return self._shards.first_row(self._own[name])

    @contextlib.contextmanager
    def observed(self) -> Iterator[LanguageModel]:
        """Context manager: the model, whose layers gather their weights when they are called."""
        self._model.unshard()  # what is outside of the layers
        try:
            yield self.mixed_precision.model
        finally:
            self._model.reshard()

    def make_optimizer(self, optim: OptimSettings) -> torch.optim.Optimizer:
        """Return an optimizer over this rank's shards."""
        if optim.name not in divided_by("fsdp"):
            raise YxanulError(
                f"strategy fsdp does not support optim.name {optim.name}",
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
        """Create a stage's optimizer, fresh or with this rank's shards of a full state."""
        if optimizer_state is not None:
            optimizer_state = OptimizerState(
                self._own_rows(optimizer_state.tensors), optimizer_state.plain
            )
        super().init_optimizer(optim, optimizer_state)

    def _own_rows(self, wholes: Tensors) -> Tensors:
        """Shard the tensors that have their weight's shape; return others whole."""
        rows = {}
        for key, whole in wholes.items():
            weight = self._sharded.get(self._name(key))
            fits = weight is not None and whole.shape == weight.shape
            rows[key] = self._shards.own(whole) if fits else whole
        return rows

    def _name(self, key: str) -> str:
        """Return the weight a tensor belongs to: its key, without a `<kind>.` prefix."""
        return key if key in self._own else key.partition(".")[2]

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Like `Engine.loss`; gradients are reduced in the last backward pass."""
        self._model.set_requires_gradient_sync(last)
        return super().loss(batch, last)

    @torch.no_grad()
    def collect(self, last: bool) -> None:
        """Move the gradients to this rank's shards; until the last micro-batch FSDP holds them."""
        if last:
            super().collect(last)
            for name, weight in self._sharded.items():
                if weight.grad is not None:
                    self._own[name].grad, weight.grad = _local(weight.grad), None

    def clip(self, max_norm: float | None) -> float:
        """Clip the gradients to the global norm over all ranks; return the norm before clipping."""
        return clip_gradients(self._own.values(), max_norm, self.world.sum)

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Context manager: a separate model with the full evaluation weights. Collective."""
        weights = self.trained() if self.ema is None else self.ema.averages
        yield self._plain(weights, DTYPES[self.mixed_precision.precision])

    def copy_of_model(self) -> MixedPrecision:
        """Return an unsharded copy that one process can train for a measurement."""
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
        """Like `Engine.weights`: on rank 0, on the CPU; empty on other ranks."""
        files: dict[str, Tensors] = {"model": self._saved(self.trained())}
        if self.ema is not None:
            files["ema"] = self._saved(self.ema.averages)
        return files

    def optimizer_state(self) -> OptimizerState:
        """Return the full optimizer state on rank 0; only the plain data on other ranks."""
        tensors, plain = optimizer_tensors(self.optimizer)
        return OptimizerState(self._saved(tensors), plain)

    @torch.no_grad()
    def load_weights(self, tensors: Tensors) -> None:
        """Load this rank's shards of the weights."""
        for name, shard in self._own_rows({name: tensors[name] for name in self._own}).items():
            self._own[name].copy_(shard)

    def load_mean(self, tensors: Tensors, num_updates: int) -> None:
        """Load this rank's shards of the EMA weights."""
        super().load_mean(self._own_rows(tensors), num_updates)

    @torch.no_grad()
    def _saved(self, shards: Mapping[str, torch.Tensor]) -> Tensors:
        """Gather tensors whose keys end in a weight's name; scalars are equal on all ranks."""
        wholes = {}
        for key, shard in shards.items():
            whole = self._whole(self._name(key), shard) if shard.ndim else shard
            if self.world.is_main:
                wholes[key] = whole.cpu()
        return wholes

    def _whole(self, name: str, shard: torch.Tensor) -> torch.Tensor:
        return self._shards.joined([self._own[name]], [shard])[0]

    @torch.no_grad()
    def _plain(self, shards: Mapping[str, torch.Tensor], dtype: torch.dtype) -> LanguageModel:
        """Return an unsharded model; shards are cast before they are gathered, to send less."""
        model = LanguageModel(self.mixed_precision.master_model.settings).to(
            device=self.device, dtype=dtype
        )
        model.attention_backend = self.mixed_precision.model.attention_backend
        for name, weight in model.named_parameters():
            weight.copy_(self._whole(name, shards[name].to(dtype)))
        return model


def _local(weight: torch.Tensor) -> torch.Tensor:
    """Return this rank's shard of a tensor, sharing its memory."""
    assert isinstance(weight, DTensor)
    return weight.to_local().detach()
