"""The engine: what computes a step on one device. `parallel/` has those for several."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from yxanul.base.memory import keep_freed_memory
from yxanul.base.ui import Ui
from yxanul.data.batches import Batch
from yxanul.model.compile import compile_unsupported_reason
from yxanul.model.language_model import LanguageModel
from yxanul.model.roles import parameter_roles
from yxanul.optim.build import build_optimizer
from yxanul.optim.clip import clip_gradients
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.ema import Ema
from yxanul.optim.groups import set_lr
from yxanul.optim.muon import Muon
from yxanul.optim.state import load_optimizer, optimizer_tensors
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.parallel.world import World

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class OptimizerState:
    """An optimizer's state, as a checkpoint holds it: full tensors, and plain data."""

    tensors: Tensors
    plain: Mapping[str, Any]


class Engine:
    """A model in its precision, its optimizer, and the mean of its weights, on one device.

    A step is: `loss` and `backward` for each micro-batch, then `clip`, then `apply` or `discard`.
    """

    can_rehearse = True
    """Whether a step can be tried before `begin`, by this process alone."""

    def __init__(
        self,
        mixed_precision: MixedPrecision,
        world: World | None = None,
        ema: EmaSettings | None = None,
    ):
        self.mixed_precision, self.world = mixed_precision, world or World()
        self.module: nn.Module = mixed_precision.model
        """What a batch goes through: the model, or what several processes wrap it in."""
        self.ema = Ema(self.trained().items(), ema.decay) if ema else None
        self.optimizer: torch.optim.Optimizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.mixed_precision.model.parameters()).device

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the fp32 weights that this process updates, by their names in the model."""
        return dict(self.mixed_precision.master_model.named_parameters())

    def init_optimizer(
        self, optim: OptimSettings, optimizer_state: OptimizerState | None = None
    ) -> None:
        """Make the optimizer of a stage, fresh or with the state that a checkpoint holds."""
        self.optimizer = self.make_optimizer(optim)
        if optimizer_state is not None:
            load_optimizer(self.optimizer, optimizer_state.tensors, optimizer_state.plain)

    def make_optimizer(self, optim: OptimSettings) -> torch.optim.Optimizer:
        """Return an optimizer over the weights that this process updates."""
        roles = parameter_roles(self.mixed_precision.master_model)
        optimizer = build_optimizer(self.trained().items(), roles, optim)
        if isinstance(optimizer, Muon):
            optimizer.in_fp32 = self.mixed_precision.precision == "fp32"
        return optimizer

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what to train on and the cross-entropy, both summed over the batch's targets.

        `last` says that no other micro-batch of the step follows: the same as for `backward`.
        """
        with self.mixed_precision.forward_context():
            return self.module(batch.ids_BT, batch.targets_BT, batch.documents_BT)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add a micro-batch's gradients to those of the step; `last` says that none follows.

        After the last one the master's gradients are those of all processes.
        """
        (loss * self.mixed_precision.loss_factor).backward()
        self.collect(last)

    def collect(self, last: bool) -> None:
        """Bring what a backward pass left behind to the gradients of the step."""
        self.mixed_precision.collect()

    def clip(self, max_norm: float | None) -> float:
        """Scale the gradients of the step down to a joint norm; return the norm before."""
        return clip_gradients(self.trained().values(), max_norm)

    def set_lr(self, multiplier: float) -> dict[str, float]:
        """Set the rates of the next update; return them by role."""
        return set_lr(self.optimizer, multiplier)

    def step(self) -> None:
        """Update the weights by the gradients of the step, and forget these."""
        self.optimizer.step()
        self.mixed_precision.refresh()
        if self.ema is not None:
            self.ema.update()
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients of the step."""
        self.optimizer.zero_grad(set_to_none=True)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Engine]:
        """Give an engine on which this process can try a step, even one that fails, by itself."""
        yield self

    @contextlib.contextmanager
    def eval_weights(self) -> Iterator[LanguageModel]:
        """Give the model with the weights that are judged and given away, for evaluation."""
        if self.ema is None:
            yield self.mixed_precision.model
            return
        with self.ema.in_place(self.mixed_precision.refresh):
            yield self.mixed_precision.model

    def load_ema_into_weights(self) -> None:
        """Train on from the mean of the weights, where there is one."""
        if self.ema is not None:
            self.ema.adopt()
            self.mixed_precision.refresh()

    def copy_of_model(self) -> MixedPrecision:
        """Return a copy that can be trained for a measurement; the run itself is untouched."""
        return copy.deepcopy(self.mixed_precision)

    def weights(self) -> dict[str, Tensors]:
        """Return the full fp32 weights by file: "model", and "ema" where there is one.

        All processes call it together; what the first one gets is what counts.
        """
        master = self.mixed_precision.master_model
        files: dict[str, Tensors] = {
            "model": {name: value.detach() for name, value in master.state_dict().items()}
        }
        if self.ema is not None:
            files["ema"] = self.ema.tensors(master)
        return files

    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state in full; called by all processes, as `weights` is."""
        return OptimizerState(*optimizer_tensors(self.optimizer))

    def load_mean(self, tensors: Tensors, num_updates: int) -> None:
        """Go on with a mean of the weights that `weights` returned."""
        if self.ema is not None:
            self.ema.load(tensors, num_updates)


def make_mixed_precision(
    model: LanguageModel, settings: TrainSettings, precision: str, ui: Ui
) -> MixedPrecision:
    """Return the model with its twin, set up as the settings and its device ask for."""
    mixed_precision = MixedPrecision(model, precision, settings.fp8)
    set_up(mixed_precision.model, settings, ui)
    return mixed_precision


def set_up(model: LanguageModel, settings: TrainSettings, ui: Ui) -> None:
    """Tell a model how to compute, as the settings and its device ask for."""
    device = model.embedding.tokens.device.type
    model.attention_backend = settings.attention
    model.checkpoint_every = settings.checkpoint_every
    if device == "cpu":
        keep_freed_memory()
    if settings.compile is True or (settings.compile == "auto" and device == "cuda"):
        reason = compile_unsupported_reason(device)
        if reason is None:
            model.compile_blocks()
        else:
            ui.warn(f"training goes on without torch.compile, which does not work here: {reason}")
