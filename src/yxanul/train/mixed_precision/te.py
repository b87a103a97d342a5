"""fp8 layers of NVIDIA's Transformer Engine (its own package, for its GPUs only).

Scales are those of the tensor at hand (current scaling), as with torchao: there is no history that
a checkpoint would have to hold.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yxanul.base.errors import YxanulError
from yxanul.train.mixed_precision.config import FP8_MULTIPLE


class Region:
    """Where layers multiply in fp8: around the forward pass alone.

    A layer remembers what it is to do backward, and a backward pass inside would use wrong scales.
    """

    def __init__(self, autocast: Callable[[], AbstractContextManager[Any]]):
        self._autocast = autocast
        self._depth = 0

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Give a context in which layers multiply in fp8."""
        self._depth += 1
        try:
            with self._autocast():
                yield
        finally:
            self._depth -= 1

    def of_layer(self) -> AbstractContextManager[None]:
        """Return what a layer's forward pass runs in.

        One that trains outside of the region is computed again for its gradients: it has to
        do what it did the first time. Evaluation, which has no gradients, computes in bf16.
        """
        again = torch.is_grad_enabled() and self._depth == 0
        return self.entered() if again else contextlib.nullcontext()


def swap_layers(model: nn.Module, names: Collection[str]) -> Region:
    """Replace the modules of these names by layers that multiply in fp8 inside a region."""
    te, recipe = _import()
    current = recipe.Float8CurrentScaling()
    region = Region(functools.partial(te.autocast, enabled=True, recipe=current))
    kind = _padded_linear(te)
    for name in names:
        parent, _, attribute = name.rpartition(".")
        layer = _copied(model.get_submodule(name), kind)
        layer.region = region
        setattr(model.get_submodule(parent), attribute, layer)
    return region


def _import() -> tuple[Any, Any]:
    try:
        import transformer_engine.pytorch as te  # pyright: ignore[reportMissingImports]
        from transformer_engine.common import (  # pyright: ignore[reportMissingImports]
            recipe,
        )
    except ImportError as error:  # also where it is there, but its parts for PyTorch are not
        raise YxanulError(
            "the package 'transformer_engine' does not work here",
            got=str(error).partition("\n")[0],
            hint="pip install --no-build-isolation 'transformer_engine[pytorch]'",
        ) from None
    return te, recipe


def _copied(layer: nn.Module, kind: Callable[..., Any]) -> Any:
    """Return a layer of the kind with the weight of ours."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    width_out, width_in = weight.shape
    layout = {"params_dtype": weight.dtype, "device": weight.device}
    new = kind(width_in, width_out, bias=False, **layout)
    with torch.no_grad():
        new.get_parameter("weight").copy_(weight)
    return new


@functools.cache
def _padded_linear(te: Any) -> Callable[..., Any]:
    """Return the package's layer for any number of rows: its kernels want a multiple of 16."""

    class PaddedLinear(te.Linear):
        region: Region

        def forward(self, x: Tensor) -> Tensor:
            """Return x W^T in the shape of `x`, but for the last axis."""
            rows = x[..., 0].numel()
            missing = -rows % FP8_MULTIPLE
            with self.region.of_layer():
                if not missing:
                    return super().forward(x)
                padded = F.pad(x.reshape(rows, -1), (0, 0, 0, missing))
                return super().forward(padded)[:rows].unflatten(0, x.shape[:-1])

    return PaddedLinear
