"""FSDP2: every rank holds a shard of each weight and all-gathers them layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from yxanul.base.errors import YxanulError
from yxanul.data.batches import Batch
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.muon import Muon, TensorGather
from yxanul.train.engine import Engine, OptimizerState, Tensors
from yxanul.train.mixed_precision.weights import DTYPES, LossScale, MixedPrecision
from yxanul.train.parallel.world import World


class ShardedMixedPrecision(MixedPrecision):
    """Sharded fp32 master weights; FSDP casts them as it gathers them, so no low-precision copy is
    kept."""

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
        if self.loss_factor == 1:
            return
        for weight in self.master_model.parameters():
            if weight.grad is not None:
                weight.grad.mul_(1 / self.loss_factor)


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


class RowShards(TensorGather):
    """Shards and gathers tensors as FSDP does, like `torch.chunk`: each rank holds consecutive rows
    of every weight, in rank order.

    Letters: W ranks, G tensors of one shape, R rows of the whole tensor, P rows of a shard (the
    last shards may have fewer).
    """

    def __init__(self, shapes: Mapping[Tensor, torch.Size], world: World):
        """Initialize with each parameter's full shape, by this rank's shard of it."""
        self._shapes, self._world = shapes, world

    def shape(self, param: Tensor) -> torch.Size:
        """Return the full shape of a sharded parameter."""
        return self._shapes[param]

    def shard(self, whole: Tensor) -> Tensor:
        """Return this rank's shard of a full tensor."""
        rows = self._rows(len(whole))
        return whole[self._world.rank * rows :][:rows]

    def first_row(self, param: Tensor) -> int:
        """Return which row of the full parameter is this rank's first."""
        return self._world.rank * self._rows(self._shapes[param][0])

    def all_gather(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Gather values that belong to parameters of one shape. Collective."""
        num_rows, *rest = self._shapes[params[0]]
        rows, size = self._rows(num_rows), self._world.size
        mine_GP = values[0].new_zeros(len(values), rows, *rest)
        for slot, value in zip(mine_GP, values, strict=True):
            slot[: len(value)] = value
        all_WGP = mine_GP.new_empty(size, *mine_GP.shape)
        dist.all_gather(list(all_WGP), mine_GP)
        return list(all_WGP.transpose(0, 1).reshape(len(values), -1, *rest)[:, :num_rows])

    def _rows(self, num_rows: int) -> int:
        return -(-num_rows // self._world.size)


class FsdpEngine(Engine):
    """Trains this rank's shards (rows) as plain tensors, so that any element-wise optimizer gives
    the same result as in one process.

    Muon's matrices are gathered and orthogonalized on every rank.
    """

    can_probe = False  # a step is collective
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
        optimizer = super().make_optimizer(optim)
        if isinstance(optimizer, Muon):
            optimizer.gather = self._shards
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
            rows[key] = self._shards.shard(whole) if fits else whole
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

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Context manager: a separate model with the full evaluation weights. Collective."""
        weights = self.trained() if self.ema is None else self.ema.averages
        yield self._plain(weights, DTYPES[self.mixed_precision.precision])

    @torch.no_grad()
    def full(self, tensors: Tensors) -> Tensors:
        """Gather tensors whose keys end in a weight's name, on rank 0's CPU; empty on other ranks.

        Scalars are equal on all ranks.
        """
        wholes = {}
        for key, shard in tensors.items():
            whole = self._whole(self._name(key), shard) if shard.ndim else shard
            if self.world.is_main:
                wholes[key] = whole.cpu()
        return wholes

    @torch.no_grad()
    def load_weights(self, tensors: Tensors) -> None:
        """Load this rank's shards of the weights."""
        for name, shard in self._own_rows({name: tensors[name] for name in self._own}).items():
            self._own[name].copy_(shard)

    def load_ema(self, tensors: Tensors, num_updates: int) -> None:
        """Load this rank's shards of the EMA weights."""
        super().load_ema(self._own_rows(tensors), num_updates)

    def _whole(self, name: str, shard: torch.Tensor) -> torch.Tensor:
        return self._shards.all_gather([self._own[name]], [shard])[0]

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
