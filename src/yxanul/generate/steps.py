"""One decoding step, from a token per row to logits; a CUDA graph on a GPU.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from yxanul.model.cache import KvCache
from yxanul.model.cpu_decode import CpuDecoder
from yxanul.model.language_model import LanguageModel

Step = Callable[[Tensor], Tensor]
"""Maps the newest ids B1 to the logits BV of the next ones."""


def make_step(model: LanguageModel, cache: KvCache) -> Step:
    """Return the fastest step for the device: `GraphStep` on a GPU, `CpuDecoder` on a CPU."""
    if model.embedding.tokens.device.type == "cuda":
        return GraphStep(model, cache)
    return CpuDecoder(model, cache)


@torch.inference_mode()
def eager_step(model: LanguageModel, cache: KvCache, ids_B1: Tensor) -> Tensor:
    """Return the logits BV of the tokens after `ids_B1`."""
    return model.logits(model.hidden(ids_B1, cache=cache)[:, -1])


class GraphStep:
    """Step captured once as a CUDA graph and replayed, without kernel launch overhead.

    The cache becomes static: every step attends to all slots with a mask, and the rows' lengths
    are kept on the device.
    """

    def __init__(self, model: LanguageModel, cache: KvCache):
        self._eager = partial(eager_step, model, cache)
        self._cache = cache
        self._graph: torch.cuda.CUDAGraph | None = None
        cache.make_static()

    @torch.inference_mode()
    def __call__(self, ids_B1: Tensor) -> Tensor:
        """Return the logits BV of the tokens after `ids_B1`, overwritten by the next call."""
        if self._graph is None:
            self._capture(ids_B1)
        assert self._graph is not None
        self._ids_B1.copy_(ids_B1)
        self._graph.replay()
        self._cache.num_seen += 1
        return self._logits_BV

    def _capture(self, ids_B1: Tensor) -> None:
        """Capture a step after a warm-up; the cache's lengths are restored, its slots rewritten."""
        lengths_B, num_seen = self._cache.lengths_B, self._cache.num_seen
        assert lengths_B is not None
        before_B = lengths_B.clone()
        self._ids_B1 = ids_B1.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._eager(self._ids_B1)
        torch.cuda.current_stream().wait_stream(side)
        lengths_B.copy_(before_B)
        self._cache.num_seen = num_seen
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits_BV = self._eager(self._ids_B1)
        lengths_B.copy_(before_B)
        self._cache.num_seen = num_seen
