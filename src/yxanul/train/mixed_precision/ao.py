"""fp8 layers of torchao: every tensor is scaled by its own largest value, anew in each pass."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from types import ModuleType

from torch import nn

from yxanul.base.errors import missing_package

_NOISE = {"torchao": "Failed to load ", "torch.utils._pytree": "register_constant()"}
"""By logger, what the import says on machines where it works well all the same."""


def swap_layers(model: nn.Module, names: Collection[str], scaling: str, emulate: bool) -> None:
    """Replace the modules of these names by layers that multiply in fp8.

    Weights stay the same parameters. `emulate` rounds to fp8 and multiplies in fp32: for devices
    without fp8.
    """
    float8 = _import()
    config = replace(
        float8.Float8LinearConfig.from_recipe_name(scaling),
        emulate=emulate,
        # The gradient of a weight is summed over the tokens, whose number may be any.
        pad_inner_dim=True,
    )
    wanted = set(names)
    float8.convert_to_float8_training(
        model, config=config, module_filter_fn=lambda _, name: name in wanted
    )


def _import() -> ModuleType:
    with contextlib.ExitStack() as stack:
        for name, message in _NOISE.items():
            stack.enter_context(_without(logging.getLogger(name), message))
        try:
            import torchao.float8
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("torchao"):
                raise
            raise missing_package("torchao", "fp8") from None
    return torchao.float8


@contextlib.contextmanager
def _without(logger: logging.Logger, message: str) -> Iterator[None]:
    """Drop the messages of a logger that hold these words; let all others through."""

    def keep(record: logging.LogRecord) -> bool:
        return message not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
