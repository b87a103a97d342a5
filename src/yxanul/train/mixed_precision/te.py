"""NVIDIA Transformer Engine fp8 layers (a separate package, for NVIDIA GPUs only).

Scales come from the current tensor (current scaling), as with torchao: there is no amax history to
store in a checkpoint.
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
    """The fp8 autocast region, around the forward pass only.

    A layer saves what its backward pass needs; a backward pass inside would use wrong scales.
    """

    def __init__(self, autocast: Callable[[], AbstractContextManager[Any]]):
        self._autocast = autocast
        self._depth = 0

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Context manager: layers compute in fp8."""
        self._depth += 1
        try:
            with self._autocast():
                yield
        finally:
            self._depth -= 1

    def of_layer(self) -> AbstractContextManager[None]:
        """Return the context of a layer's forward pass.

        A forward pass with gradients outside the region is a recomputation (activation
        checkpointing) and must match the first one. Evaluation, without gradients, runs in bf16.
        """
        recomputes = torch.is_grad_enabled() and self._depth == 0
        return self.entered() if recomputes else contextlib.nullcontext()


def swap_layers(model: nn.Module, names: Collection[str]) -> Region:
    """Replace the named modules by layers that compute in fp8 inside the returned region."""
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
    except ImportError as error:  # also if it was installed without its PyTorch extension
        raise YxanulError(
            "the package 'transformer_engine' cannot be imported",
            got=str(error).partition("\n")[0],
            hint="pip install --no-build-isolation 'transformer_engine[pytorch]'",
        ) from None
    return te, recipe


def _copied(layer: nn.Module, kind: Callable[..., Any]) -> Any:
    """Return a new layer of class `kind` with a copy of the weight."""
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
    """Return a `te.Linear` that pads the rows to a multiple of 16, as its kernels require."""

    class PaddedLinear(te.Linear):
        region: Region

        def forward(self, x: Tensor) -> Tensor:
            """Return x W^T; all axes but the last are as in `x`."""
            rows = x[..., 0].numel()
            missing = -rows % FP8_MULTIPLE
            with self.region.of_layer():
                if not missing:
                    return super().forward(x)
                padded = F.pad(x.reshape(rows, -1), (0, 0, 0, missing))
                return super().forward(padded)[:rows].unflatten(0, x.shape[:-1])

    return PaddedLinear
