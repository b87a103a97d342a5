"""Greedy generation inside a contender's process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from harness.memory import synchronise
from harness.shapes import DECODE_SHAPES
from peers import DECODERS, DecodeJob


class Decoding:
    """A model that writes on, and prompts."""

    def __init__(self, job: dict[str, Any]):
        self.shape, peer = DECODE_SHAPES[job["shape"]], DECODERS[job["contender"]]
        self.device, self.seed = torch.device(job["device"]), job["seed"]
        self.prompt_tokens, self.new_tokens = job["prompt_tokens"], job["new_tokens"]
        length = self.prompt_tokens + self.new_tokens
        where = (Path(job["weights"]), job["precision"], self.device, length)
        self.generate = peer.build("decoder")(DecodeJob(self.shape, *where), **peer.options)

    def describe(self) -> dict[str, Any]:
        """There is nothing to say beyond that it was built."""
        return {}

    def warm(self, batch: int) -> dict[str, Any]:
        """Generate twice; return the new tokens and the time of the second go."""
        ids, seconds = self._timed(batch)
        ids, seconds = self._timed(batch)
        return {"ids": ids, "seconds": seconds}

    def round(self, batch: int, repeats: int) -> dict[str, Any]:
        """Time some goes."""
        seconds = sum(self._timed(batch)[1] for _ in range(repeats))
        return {"tokens_per_second": repeats * batch * self.new_tokens / seconds}

    def _timed(self, batch: int) -> tuple[list[list[int]], float]:
        prompts = self._prompts(batch)
        start = time.perf_counter()
        ids = self.generate(prompts, self.new_tokens)
        synchronise(self.device)
        seconds = time.perf_counter() - start
        assert [len(row) for row in ids] == [self.new_tokens] * batch, "wrong number of tokens"
        return ids, seconds

    def _prompts(self, batch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed)
        size = (batch, self.prompt_tokens)
        return torch.randint(self.shape.settings.num_tokens, size, generator=generator).tolist()
