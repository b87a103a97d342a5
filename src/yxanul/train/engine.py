"""Single-device training engine; `parallel/` has the distributed ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from yxanul.base.machine import keep_freed_memory
from yxanul.base.ui import Ui
from yxanul.data.batches import Batch
from yxanul.model.compile import compile_unsupported_reason
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.peak_flops import has_bf16_units
from yxanul.optim.clip import clip_gradients
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.ema import Ema
from yxanul.optim.groups import build_optimizer, set_lr
from yxanul.optim.muon import Muon
from yxanul.optim.state import load_optimizer, optimizer_tensors
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.parallel.world import World

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class OptimizerState:
    """Optimizer state as stored in a checkpoint: full (unsharded) tensors and plain data."""

    tensors: Tensors
    plain: Mapping[str, Any]


class Engine:
    """A model in its precision, its optimizer and the EMA of its weights, on one device.

    A step: `loss` and `backward` per micro-batch, `clip`, then `step` (or `zero_grad` to skip it).
    """

    can_probe = True
    """Whether this process can try a step by itself before `init_optimizer`."""
    is_sharded = False
    """Whether this process holds only its rows of each weight."""

    def __init__(
        self,
        mixed_precision: MixedPrecision,
        world: World | None = None,
        ema: EmaSettings | None = None,
    ):
        self.mixed_precision, self.world = mixed_precision, world or World()
        self.module: nn.Module = mixed_precision.model
        """Called on a batch: the model, or its distributed wrapper."""
        self.ema = Ema(self.trained(), ema.decay) if ema else None
        self.optimizer: torch.optim.Optimizer

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.mixed_precision.model.parameters()).device

    @property
    def settings(self) -> ModelSettings:
        """The model's settings."""
        return self.mixed_precision.master_model.settings

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the fp32 weights that this process updates, by parameter name."""
        return dict(self.mixed_precision.master_model.named_parameters())

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Return the weights that this process updates, with their gradients, for measurements;
        empty if they are not divided by name."""
        return self.trained()

    def first_row(self, name: str) -> int:
        """Return which row of the full weight is this process's first."""
        return 0

    @contextlib.contextmanager
    def observed(self) -> Iterator[LanguageModel]:
        """Context manager: the model that is trained, for passes without gradients. Collective."""
        yield self.mixed_precision.model

    def init_optimizer(
        self, optim: OptimSettings, optimizer_state: OptimizerState | None = None
    ) -> None:
        """Create a stage's optimizer, fresh or with the state from a checkpoint."""
        self.optimizer = self.make_optimizer(optim)
        if optimizer_state is not None:
            load_optimizer(self.optimizer, optimizer_state.tensors, optimizer_state.plain)

    def make_optimizer(self, optim: OptimSettings) -> torch.optim.Optimizer:
        """Return an optimizer over the weights that this process updates."""
        roles = self.mixed_precision.master_model.parameter_roles()
        optimizer = build_optimizer(self.trained().items(), roles, optim)
        if isinstance(optimizer, Muon):
            in_bf16 = self.mixed_precision.precision != "fp32" and has_bf16_units(self.device)
            optimizer.dtype = torch.bfloat16 if in_bf16 else torch.float32
        return optimizer

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the training loss and the cross-entropy, both summed over the batch's targets.

        `last` marks the last micro-batch of the step, as for `backward`.
        """
        with self.mixed_precision.forward_context():
            return self.module(batch.ids_BT, batch.targets_BT, batch.documents_BT)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Accumulate a micro-batch's gradients; `last` marks the last one of the step.

        After the last one the master's gradients are summed over all processes.
        """
        (loss * self.mixed_precision.loss_factor).backward()
        self.collect(last)

    def collect(self, last: bool) -> None:
        """Move the gradients of a backward pass to the master weights."""
        self.mixed_precision.collect()

    def clip(self, max_norm: float | None) -> float:
        """Clip the gradients to a global norm; return the norm before clipping."""
        grads = (weight.grad for weight in self.trained().values())
        return clip_gradients(grads, max_norm, self.world.sum if self.is_sharded else None)

    def set_lr(self, multiplier: float) -> dict[str, float]:
        """Set the learning rates of the next update; return them by role."""
        return set_lr(self.optimizer, multiplier)

    def step(self) -> None:
        """Apply the update and clear the gradients."""
        self.optimizer.step()
        self.refresh()
        if self.ema is not None:
            self.ema.update()
        self.zero_grad()

    def refresh(self) -> None:
        """Cast the fp32 weights into the model."""
        self.mixed_precision.refresh()

    def zero_grad(self) -> None:
        """Clear the gradients of the step."""
        self.optimizer.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Engine]:
        """Context manager: an engine on which this process alone can try a step that may fail."""
        yield self

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Context manager: the model with its weights for evaluation and export (EMA if any)."""
        if self.ema is None:
            yield self.mixed_precision.model
            return
        with self.ema.in_place(self.refresh):
            yield self.mixed_precision.model

    def load_ema_into_weights(self) -> None:
        """Continue training from the EMA weights, if enabled."""
        if self.ema is not None:
            self.ema.adopt()
            self.refresh()

    def weights(self) -> dict[str, Tensors]:
        """Return the full fp32 weights by file: "model", and "ema" if enabled.

        Collective: all ranks call it; only rank 0's result is used.
        """
        files = {"model": self.full(self.trained())}
        if self.ema is not None:
            files["ema"] = self.full(self.ema.averages)
        return files

    def optimizer_state(self) -> OptimizerState:
        """Return the full optimizer state; collective, like `weights`."""
        tensors, plain = optimizer_tensors(self.optimizer)
        return OptimizerState(self.full(tensors), plain)

    def full(self, tensors: Tensors) -> Tensors:
        """Return the full tensors of which this process may hold only a part. Collective."""
        return {name: tensor.detach() for name, tensor in tensors.items()}

    def load_weights(self, tensors: Tensors) -> None:
        """Load full fp32 weights; `init_optimizer` must follow."""
        self.mixed_precision.master_model.load_state_dict(tensors)
        self.refresh()

    def load_ema(self, tensors: Tensors, num_updates: int) -> None:
        """Load the EMA weights that `weights` returned; `init_optimizer` must follow."""
        if self.ema is not None:
            self.ema.load(tensors, num_updates)


def make_mixed_precision(
    model: LanguageModel, settings: TrainSettings, precision: str, ui: Ui
) -> MixedPrecision:
    """Return the mixed-precision model, configured for the settings and its device."""
    mixed_precision = MixedPrecision(model, precision, settings.fp8)
    set_up(mixed_precision.model, settings, ui)
    return mixed_precision


def set_up(model: LanguageModel, settings: TrainSettings, ui: Ui) -> None:
    """Set a model's attention backend, activation checkpointing and compilation."""
    device = model.embedding.tokens.device.type
    model.attention_backend = settings.attention
    model.checkpoint_every = settings.checkpoint_every
    if device == "cpu":
        keep_freed_memory()
    if settings.compile is True or (settings.compile == "auto" and device == "cuda"):
        reason = compile_unsupported_reason(device)
        if reason is None:
            model.compiles = True
        else:
            ui.warn(f"torch.compile is not available, training without it: {reason}")
