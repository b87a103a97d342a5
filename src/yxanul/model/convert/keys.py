"""Validated access to the keys of a config.json."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError

MOST = 2**31 - 1
"""Largest integer accepted."""
_SHOWN = 80


class Keys:
    """A config.json merged over the defaults of its configuration class."""

    def __init__(self, given: Mapping[str, Any], defaults: Mapping[str, Any], file: Path):
        self.file = file
        self._values = {**defaults, **given}

    def get(self, key: str, otherwise: Any = None) -> Any:
        """Return the value of a key, `otherwise` if it is null or missing."""
        value = self._values.get(key)
        return otherwise if value is None else value

    def whole(
        self, key: str, otherwise: int | None = None, *, least: int = 1, most: int = MOST
    ) -> int:
        """Return an integer from `least` to `most`."""
        value = self.get(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.misfit(key, value, f"an integer from {least} to {most}")
        return value

    def number(self, key: str, otherwise: float | None = None) -> float:
        """Return the positive number under `key`."""
        return self.positive(key, self.get(key, otherwise))

    def positive(self, key: str, value: Any) -> float:
        """Return `value`, found under `key`, as a float; raise if it is not a positive number."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and 0 < value < math.inf):
            raise self.misfit(key, value, "a positive number")
        return float(value)

    def flag(self, key: str) -> bool:
        """Return the boolean under `key`, False if missing."""
        value = self.get(key, False)
        if not isinstance(value, bool):
            raise self.misfit(key, value, "true or false")
        return value

    def group(self, key: str) -> dict[str, Any]:
        """Return the object under `key`, empty if missing."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise self.misfit(key, value, "an object")
        return value

    def one_of(self, key: str, values: Collection[str]) -> str:
        """Return the string under `key`; raise if it is not one of `values`."""
        value = self.get(key)
        if not isinstance(value, str) or value not in values:
            raise self.misfit(key, value, " or ".join(values))
        return value

    def misfit(self, key: str, got: Any, expected: Any) -> YxanulError:
        """Return the error for a value that our models cannot express."""
        what = f"{self.file}: unsupported {key}"
        return YxanulError(what, got=in_a_word(got), expected=in_a_word(expected))


def in_a_word(value: Any) -> str:
    """Return a JSON value for a message: short and on one line."""
    if value is None:
        return "nothing"
    is_word = isinstance(value, str) and value.strip() and value.isprintable()
    plain = str(value) if is_word else json.dumps(value)
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]} ..."
