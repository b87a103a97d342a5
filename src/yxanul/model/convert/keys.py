"""The keys of a config.json, read one by one; what does not fit is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError


class Keys:
    """A config.json over the defaults of its configuration class."""

    def __init__(self, given: Mapping[str, Any], defaults: Mapping[str, Any], file: Path):
        self.file = file
        self._values = {**defaults, **given}

    def get(self, key: str, otherwise: Any = None) -> Any:
        """Return the value of a key, `otherwise` where it is null or nobody gives it."""
        value = self._values.get(key)
        return otherwise if value is None else value

    def whole(self, key: str, otherwise: int | None = None) -> int:
        """Return a whole number above 0."""
        value = self.get(key, otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.misfit(key, value, "a whole number above 0")
        return value

    def number(self, key: str, otherwise: float | None = None) -> float:
        """Return a number above 0."""
        return self.positive(key, self.get(key, otherwise))

    def positive(self, key: str, value: Any) -> float:
        """Return a value found under `key`, which has to be a number above 0."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self.misfit(key, value, "a number above 0")
        return float(value)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self.get(key, False)
        if not isinstance(value, bool):
            raise self.misfit(key, value, "true or false")
        return value

    def group(self, key: str) -> dict[str, Any]:
        """Return the object under a key, empty if there is none."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise self.misfit(key, value, "an object")
        return value

    def one_of(self, key: str, values: Collection[str]) -> str:
        """Return one of some words."""
        value = self.get(key)
        if value not in values:
            raise self.misfit(key, value, " or ".join(values))
        return value

    def misfit(self, key: str, found: Any, wanted: Any) -> YxanulError:
        """Return the error for a value that our models cannot express."""
        absent = "nothing" if found is None else found
        return YxanulError(f"{self.file}: {key} does not fit", found=absent, wanted=wanted)
