"""torchao fp8 layers with dynamic scaling: tensors are scaled by their current absolute maximum."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from dataclasses import replace
from types import ModuleType

from torch import nn

from yxanul.base.errors import missing_package

_NOISE = {"torchao": "Failed to load ", "torch.utils._pytree": "register_constant()"}
"""Harmless messages of the import, by logger."""


def swap_layers(model: nn.Module, names: Collection[str], scaling: str, emulate: bool) -> None:
    """Replace the named modules by fp8 linear layers that keep the same parameters.

    `emulate` rounds to fp8 and multiplies in fp32, for devices without fp8.
    """
    float8 = _import()
    config = replace(
        float8.Float8LinearConfig.from_recipe_name(scaling),
        emulate=emulate,
        # The inner dimension of a weight's gradient is the number of tokens, which is arbitrary.
        pad_inner_dim=True,
    )
    selected = set(names)
    float8.convert_to_float8_training(
        model, config=config, module_filter_fn=lambda _, name: name in selected
    )


@functools.cache
def _import() -> ModuleType:
    for name, noise in _NOISE.items():
        logging.getLogger(name).addFilter(lambda record, noise=noise: noise not in str(record.msg))
    try:
        import torchao.float8
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("torchao"):
            raise
        raise missing_package("torchao", "fp8") from None
    return torchao.float8
