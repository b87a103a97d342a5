"""Scaling law: the expected loss of a model by its size and its training tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

TOKENS_PER_PARAMETER = 20
"""Training tokens that are optimal for a parameter (Hoffmann et al. 2022)."""
REPETITIONS, EXCESS = 15.4, 5.3
"""How fast repeated tokens, and parameters beyond the optimum for the text, lose their value
(R_D* and R_N* of Muennighoff et al. 2023, "Scaling Data-Constrained Language Models")."""


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta in nats per token (Hoffmann et al. 2022)."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, parameters: float, tokens: float, text_tokens: float = math.inf) -> float:
        """Return the expected loss of `parameters` (without embeddings) after `tokens`, of which
        `text_tokens` are different: the others repeat them."""
        parameters = _effective(parameters, text_tokens / TOKENS_PER_PARAMETER, EXCESS)
        tokens = _effective(tokens, text_tokens, REPETITIONS)
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta


def _effective(number: float, full: float, decay: float) -> float:
    """Return what `number` is worth if only the first `full` of it count in full."""
    if number <= full:
        return number
    return full * (1 + decay * (1 - math.exp((1 - number / full) / decay)))


SCALING_LAW = ScalingLaw(E=1.504, A=34.19, alpha=0.34, B=801.9, beta=0.4553)
"""Fitted to runs on TinyStories and Wikipedia by `benchmarks/sizes.py` on 2026-11-22; E is that of
TinyStories."""
