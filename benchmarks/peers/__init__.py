"""The contenders of every benchmark, in one table; each peer is one file. Imports none of them.

A contender's file has a function named after each benchmark that it takes part in, which is called
in a process of its own with a job, a plain dictionary, and the options of its row:

* `step(job)` returns a `Trainee`; `decode(job)` returns what continues prompts greedily. The job's
  `weights` is a folder as `transformers` lays it out, the same for all; `precision` is fp32 or
  bf16 (matrix products in bf16, master weights in fp32; to decode, all weights in bf16).
* `data(job)` turns a corpus of JSON lines into token ids and returns how many.
* `trainer(job)` and `learning(job)` train on the rows of an array and return facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


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
    """A contender: which file it is in, and what it can do."""

    file: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its functions beside the job."""
    needs: tuple[str, ...] = ()
    """Packages it cannot do without."""
    kinds: tuple[str, ...] = ("llama", "factorised", "gemma3")
    """Kinds of shapes it has."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where it is worth running."""

    @property
    def compiled(self) -> bool:
        """Whether it goes through torch.compile, and so takes longer to get going."""
        return bool(self.options.get("compiled"))

    def call(self, benchmark: str) -> str:
        """Return the name of its function for a benchmark, as module:name."""
        return f"peers.{self.file}:{benchmark}"

    def function(self, benchmark: str) -> Callable[[dict[str, Any]], Any]:
        """Return its function for a benchmark, to be called with a job."""
        function = getattr(import_module(f"peers.{self.file}"), benchmark)
        return partial(function, **self.options)

    def why_not(self, kind: str = "llama", device: str = "cpu") -> str | None:
        """Return why it cannot take part, or None."""
        if kind not in self.kinds:
            return f"has no {kind} shape"
        if device not in self.devices:
            return f"is for {', '.join(self.devices)}"
        missing = [name for name in self.needs if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None


_NANO = partial(Peer, "nano", kinds=("llama", "factorised"))
_HF = partial(Peer, "hf", needs=("transformers",))
_HF_TRAINER = partial(Peer, "hf", needs=("transformers", "accelerate"))
_LIT = partial(Peer, "lit", needs=("litgpt",), kinds=("llama",))
_LIT_TRAINER = partial(Peer, "lit", needs=("litgpt", "lightning", "jsonargparse"))
_LLAMA, _LLAMA_AND_GEMMA = ("llama",), ("llama", "gemma3")

STEP = {
    "yxanul": Peer("ours"),
    "yxanul-compiled": Peer("ours", {"compiled": True}),
    "nanogpt": _NANO(),
    "nanogpt-compiled": _NANO({"compiled": True}),
    "transformers-eager": _HF({"attention": "eager"}, kinds=_LLAMA_AND_GEMMA),
    "transformers-sdpa": _HF({"attention": "sdpa"}, kinds=_LLAMA_AND_GEMMA),
    "transformers-compiled": _HF({"attention": "sdpa", "compiled": True}, kinds=_LLAMA),
    "litgpt": _LIT(),
    "litgpt-compiled": _LIT({"compiled": True}),
}
DECODE = {
    "yxanul": Peer("ours", kinds=_LLAMA),
    "transformers-dynamic": _HF({"cache": "dynamic"}, kinds=_LLAMA),
    "transformers-static": _HF({"cache": "static"}, kinds=_LLAMA),
    "transformers-static-compiled": _HF(
        {"cache": "static", "compiled": True}, kinds=_LLAMA, devices=("cuda",)
    ),
}
DATA = {
    "yxanul": Peer("ours_data"),
    "datasets-tokenizers": Peer("hf_datasets", {"by": "tokenizers"}, ("datasets", "tokenizers")),
    "datasets-tiktoken": Peer("hf_datasets", {"by": "tiktoken"}, ("datasets", "tiktoken")),
}
# Ours with AdamW as all the others, with the optimizer that recipes start from, and compiled; the
# peers as they come, and the other way round.
TRAINER = {
    "yxanul": Peer("ours_trainer"),
    "yxanul-muon": Peer("ours_trainer", {"overrides": ("optim.name=muon",)}),
    "yxanul-compiled": Peer("ours_trainer", {"overrides": ("train.compile=true",)}),
    "transformers": _HF_TRAINER(),
    "transformers-compiled": _HF_TRAINER({"compiled": True}),
    "litgpt": _LIT_TRAINER(),
    "litgpt-uncompiled": _LIT_TRAINER({"compiled": False}),
}
LEARNING = {"yxanul": Peer("ours_trainer"), "transformers": _HF_TRAINER()}
