"""The contenders: two tables, one file a peer. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.shapes import Shape

ALL_KINDS = ("llama", "factorised", "gemma3")


@dataclass(frozen=True)
class StepJob:
    """What a model to train is made from."""

    shape: Shape
    weights: Path
    precision: str
    """fp32, or bf16: matrix products in bf16, master weights in fp32."""
    device: torch.device
    seq_len: int


@dataclass(frozen=True)
class DecodeJob(StepJob):
    """What a model that generates is made from; in bf16 all its weights are bf16."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Trainee:
    """A model under training, as the one loop for all sees it."""

    trained: nn.Module
    """Holds the parameters that the optimizer updates."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """Mean cross-entropy of targets_BT given ids_BT."""
    collect: Callable[[], None] = _nothing
    """Called after backward."""
    refresh: Callable[[], None] = _nothing
    """Called after the optimizer's step."""
    copies: Iterable[Tensor] = ()
    """Other copies of the weights that stay in memory."""


@dataclass(frozen=True)
class Peer:
    """A contender: where its code is, and what it can do."""

    module: str
    options: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None
    """A package it cannot do without."""
    kinds: tuple[str, ...] = ALL_KINDS
    """Kinds of shapes it has."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where it is worth running."""

    @property
    def compiled(self) -> bool:
        """Whether it goes through torch.compile, and so takes longer to get going."""
        return bool(self.options.get("compiled"))

    def build(self, function: str = "trainee") -> Callable[..., Any]:
        """Return what makes it: `trainee`, or `decoder`."""
        return getattr(import_module(self.module), function)

    def why_not(self, shape: Shape, device: str) -> str | None:
        """Return why it cannot take part, or None."""
        if shape.kind not in self.kinds:
            return f"has no {shape.kind} shape"
        if device not in self.devices:
            return f"is for {', '.join(self.devices)}"
        if self.needs and find_spec(self.needs) is None:
            return f"the package {self.needs} is not installed"
        return None


_HF: dict[str, Any] = {"module": "peers.hf", "needs": "transformers"}
_LIT: dict[str, Any] = {"module": "peers.lit", "needs": "litgpt", "kinds": ("llama",)}
_NANO: dict[str, Any] = {"module": "peers.nano", "kinds": ("llama", "factorised")}
_COMPILED = {"compiled": True}

STEPPERS: dict[str, Peer] = {
    "yxanul": Peer("peers.ours"),
    "yxanul-compiled": Peer("peers.ours", _COMPILED),
    "nanogpt": Peer(**_NANO),
    "nanogpt-compiled": Peer(options=_COMPILED, **_NANO),
    "transformers-eager": Peer(options={"attention": "eager"}, kinds=("llama", "gemma3"), **_HF),
    "transformers-sdpa": Peer(options={"attention": "sdpa"}, kinds=("llama", "gemma3"), **_HF),
    "transformers-compiled": Peer(
        options={"attention": "sdpa", "compiled": True}, kinds=("llama",), **_HF
    ),
    "litgpt": Peer(**_LIT),
    "litgpt-compiled": Peer(options=_COMPILED, **_LIT),
}
"""For the training step."""

DECODERS: dict[str, Peer] = {
    "yxanul": Peer("peers.ours", kinds=("llama",)),
    "transformers-dynamic": Peer(options={"cache": "dynamic"}, kinds=("llama",), **_HF),
    "transformers-static": Peer(options={"cache": "static"}, kinds=("llama",), **_HF),
    "transformers-static-compiled": Peer(
        options={"cache": "static", "compiled": True}, kinds=("llama",), devices=("cuda",), **_HF
    ),
}
"""For generation."""
