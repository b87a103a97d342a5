"""EMA of the weights (averaging: Polyak and Juditsky 1992)."""

# torch's multi-tensor operations are not exported publicly.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch


class Ema:
    """Exponential moving average of fp32 weights, one tensor per parameter.

    The decay of update n is at most (1 + n) / (10 + n), so that the initial weights are soon
    forgotten.
    """

    def __init__(self, weights: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self.averages = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self.num_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages with the current weights."""
        self.num_updates += 1
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        averages = [self.averages[name] for name in self._weights]
        torch._foreach_lerp_(averages, list(self._weights.values()), 1 - decay)

    @torch.no_grad()
    def adopt(self) -> None:
        """Copy the averages into the weights and restart the averaging."""
        for name, weight in self._weights.items():
            weight.copy_(self.averages[name])
        self.num_updates = 0

    def over(self, weights: Mapping[str, torch.nn.Parameter]) -> Ema:
        """Return an EMA of other weights after as many updates; its averages are these weights."""
        other = Ema(weights, self._decay)
        other.num_updates = self.num_updates
        return other

    @contextlib.contextmanager
    def in_place(self, refresh: Callable[[], None]) -> Iterator[None]:
        """Context manager: swap the averages into the weights, restoring them bit for bit on exit.

        `refresh` is called after each swap, to update values derived from the weights.
        """
        self._exchange()
        refresh()
        try:
            yield
        finally:
            self._exchange()
            refresh()

    @torch.no_grad()
    def load(self, tensors: Mapping[str, torch.Tensor], num_updates: int) -> None:
        """Restore the averages and the number of updates."""
        for name, average in self.averages.items():
            average.copy_(tensors[name])
        self.num_updates = num_updates

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self.averages[name])
            self.averages[name].copy_(kept)
