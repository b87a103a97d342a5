"""Scaling law: the expected loss of a model by its size and its training tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta in nats per token (Hoffmann et al. 2022)."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Return the expected loss of `parameters` (without embeddings) after `tokens`."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta


SCALING_LAW = ScalingLaw(E=1.504, A=34.19, alpha=0.34, B=801.9, beta=0.4553)
"""Fitted to runs on TinyStories and Wikipedia by `benchmarks/sizes.py` on 2026-11-22; E is that of
TinyStories."""
