"""The one base of all settings: frozen, strict about keys, checked at birth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from yxanul.base.errors import YxanulError


class Settings(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Misfit(ValueError):
    """Values that each are right but do not fit together; validators raise it.

    `keys` are the paths, below what is validated, of the values of which one has to change.
    """

    def __init__(self, text: str, *keys: str | tuple[str | int, ...]):
        super().__init__(text)
        self.keys = tuple((key,) if isinstance(key, str) else key for key in keys)


class Misfits(ValueError):
    """Several of them at once."""

    def __init__(self, misfits: Sequence[Misfit]):
        super().__init__("; ".join(map(str, misfits)))
        self.misfits = tuple(misfits)


AnySettings = TypeVar("AnySettings", bound=Settings)


def checked(kind: type[AnySettings], **fields: Any) -> AnySettings:
    """Return settings made of a person's words; what does not fit is an error in one line."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        wanted = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
        if not first["loc"]:  # what was found would be all of the settings
            raise YxanulError(wanted) from None
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "value_error":  # a whole sentence
            raise YxanulError(f"{name}: {wanted}") from None
        raise YxanulError(name, got=repr(first["input"]), expected=wanted) from None
