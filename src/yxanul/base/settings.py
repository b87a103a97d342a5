"""Base class of all settings: frozen, strict about unknown keys, validated on creation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from yxanul.base.errors import YxanulError


class Settings(BaseModel):
    """Frozen group of settings; unknown keys are an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Misfit(ValueError):
    """Values that are valid individually but not together; raised by validators.

    `keys` are the paths, relative to the validated object, of the values one of which must change.
    """

    def __init__(self, text: str, *keys: str | tuple[str | int, ...]):
        super().__init__(text)
        self.keys = tuple((key,) if isinstance(key, str) else key for key in keys)


class Misfits(ValueError):
    """Several misfits."""

    def __init__(self, misfits: Sequence[Misfit]):
        super().__init__("; ".join(map(str, misfits)))
        self.misfits = tuple(misfits)


AnySettings = TypeVar("AnySettings", bound=Settings)


def checked(kind: type[AnySettings], **fields: Any) -> AnySettings:
    """Create settings from user input; report the first validation error as a YxanulError."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        expected = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
        if not first["loc"]:  # the input would be all of the settings
            raise YxanulError(expected) from None
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "value_error":  # a whole sentence
            raise YxanulError(f"{name}: {expected}") from None
        raise YxanulError(name, got=repr(first["input"]), expected=expected) from None
