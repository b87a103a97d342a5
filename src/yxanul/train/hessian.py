"""Estimate of the diagonal Hessian for Sophia: squared gradients for sampled targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from yxanul.base.seeds import derive_seed
from yxanul.data.batches import IGNORE, Batch
from yxanul.model.language_model import LanguageModel
from yxanul.optim.sophia import Sophia
from yxanul.train.engine import Engine

LOGIT_BYTES = 2**26


@dataclass(frozen=True)
class HessianEstimator:
    """Updates a Sophia's Hessian from a micro-batch (Gauss-Newton-Bartlett); the targets drawn
    depend on the seed, step and rank alone."""

    optimizer: Sophia
    engine: Engine
    seed: int

    def due(self, stage_step: int) -> bool:
        """Return whether a new estimate is due for the update after `stage_step`."""
        return stage_step % self.optimizer.hessian_steps == 0

    def estimate(self, batch: Batch, step: int) -> None:
        """Update the Hessian with the gradient for targets sampled from the model.

        Positions without a target in `batch` stay without one. Non-finite gradients are dropped.
        No gradients are left behind.
        """
        engine = self.engine
        generator = torch.Generator(batch.ids_BT.device)
        generator.manual_seed(derive_seed(self.seed, "curvature", step, engine.world.rank))
        drawn = replace(
            batch, targets_BT=draw_targets(engine.mixed_precision.model, batch, generator)
        )
        num_targets = round(engine.world.sum(batch.num_targets))
        total, _ = engine.loss(drawn)
        engine.backward(total / max(1, num_targets), last=True)
        if math.isfinite(engine.clip(None)):
            self.optimizer.update_hessian(num_targets)
        engine.zero_grad()


@torch.no_grad()
def draw_targets(model: LanguageModel, batch: Batch, generator: torch.Generator) -> torch.Tensor:
    """Sample targets from the model where `batch` has any; logits are computed in chunks."""
    hidden_BTD = model.hidden(batch.ids_BT, batch.documents_BT)
    hidden_ND, targets_N = hidden_BTD.flatten(0, 1), batch.targets_BT.flatten()
    rows = max(1, LOGIT_BYTES // (4 * model.settings.known_vocab_size))
    drawn = [
        torch.multinomial(model.logits(chunk_ND).softmax(-1), 1, generator=generator).squeeze(1)
        for chunk_ND in hidden_ND.split(rows)
    ]
    return torch.where(targets_N == IGNORE, IGNORE, torch.cat(drawn)).view_as(batch.targets_BT)
