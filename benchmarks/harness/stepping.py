"""The training step inside a contender's process: the same loop around everybody's model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.memory import held_bytes, peak_bytes, reset_peak, settle, synchronise
from harness.shapes import STEP_SHAPES, Shape
from peers import STEPPERS, StepJob
from yxanul.model.count import count_parameters

NUM_BATCHES = 4
WARM_STEPS = {False: 2, True: 4}
"""Steps before anything is measured, by whether the contender is compiled."""


class Stepping:
    """A model, its optimizer, a few batches."""

    def __init__(self, job: dict[str, Any]):
        shape, peer = STEP_SHAPES[job["shape"]], STEPPERS[job["contender"]]
        self.device = torch.device(job["device"])
        self.compiled = peer.compiled
        self.num_tokens = job["tokens"] // job["seq_len"] * job["seq_len"]
        self.batches = self.make_batches(shape, job)
        build = peer.build()
        _load_kernels(self.device)
        settle(self.device)
        self.before_bytes = held_bytes(self.device)
        where = (Path(job["weights"]), job["precision"], self.device, job["seq_len"])
        self.trainee = build(StepJob(shape, *where), **peer.options)
        self.parameters = list(self.trainee.trained.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
        )
        self.num_steps = 0
        self.count = count_parameters(shape.settings)

    def make_batches(self, shape: Shape, job: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        """Return the (ids, targets) that steps go through in turn."""
        return _batches(shape.settings.num_tokens, job, self.device)

    def describe(self) -> dict[str, Any]:
        """Say what was built."""
        held = {id(p): p.numel() * p.element_size() for p in self.parameters}
        held |= {id(p): p.numel() * p.element_size() for p in self.trainee.copies}
        return {
            "parameters": self.count,
            "parameters_with_padding": sum(p.numel() for p in self.parameters),
            "weight_bytes": sum(held.values()),
        }

    def warm(self) -> dict[str, Any]:
        """Do the first steps; return the loss of the very first and the time of the last."""
        losses, seconds = [], 0.0
        for _ in range(WARM_STEPS[self.compiled]):
            start = time.perf_counter()
            losses.append(float(self._step()))
            synchronise(self.device)
            seconds = time.perf_counter() - start
        return {"first_loss": losses[0], "step_seconds": seconds}

    def memory(self, steps: int = 2) -> dict[str, Any]:
        """Return the peak of some steps, over what is held between steps and over an empty process.

        Between steps are the weights and AdamW's moments, and no gradients.
        """
        settle(self.device)
        between = held_bytes(self.device)
        reset_peak(self.device)
        for _ in range(steps):
            self._step()
        synchronise(self.device)
        peak = peak_bytes(self.device)
        return {
            "peak_over_state_bytes": peak - between,
            "peak_over_empty_bytes": peak - self.before_bytes,
        }

    def round(self, steps: int) -> dict[str, Any]:
        """Time some steps. A GPU's memory is given back, so one untimed step comes first there."""
        if self.device.type == "cuda":
            self._step()
        synchronise(self.device)
        start = time.perf_counter()
        losses = [self._step() for _ in range(steps)]
        synchronise(self.device)
        seconds = time.perf_counter() - start
        loss = float(losses[-1])
        if self.device.type == "cuda":
            settle(self.device)
        return {"tokens_per_second": steps * self.num_tokens / seconds, "loss": loss}

    def _step(self) -> Tensor:
        ids_BT, targets_BT = self.batches[self.num_steps % len(self.batches)]
        self.num_steps += 1
        loss = self.trainee.loss(ids_BT, targets_BT)
        loss.backward()
        self.trainee.collect()
        self.optimizer.step()
        self.trainee.refresh()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def _load_kernels(device: torch.device) -> None:
    """Do a step of next to nothing, so that libraries loaded on first use count for nobody."""
    layer = torch.nn.Linear(64, 64, device=device)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(64, 64, device=device)).sum().backward()
    optimizer.step()


def _batches(
    vocab_size: int, job: dict[str, Any], device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Return the same random batches for every contender."""
    generator = torch.Generator().manual_seed(job["seed"])
    size = (job["tokens"] // job["seq_len"], job["seq_len"] + 1)
    rows = [torch.randint(vocab_size, size, generator=generator) for _ in range(NUM_BATCHES)]
    return [
        (row[:, :-1].contiguous().to(device), row[:, 1:].contiguous().to(device)) for row in rows
    ]
