"""Filter by a user-defined quality function."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import expand_home
from yxanul.text.documents import Document
from yxanul.text.filters.config import QualityFilterSettings

Function: TypeAlias = Callable[[list[str]], Any]


class QualityFilter:
    """Filter by the score of a user-defined function.

    The function is called with one document at a time, so that its score cannot depend on others.
    """

    def __init__(self, settings: QualityFilterSettings):
        self._settings = settings
        load_function(settings.function)

    def cause(self, document: Document) -> str | None:
        """Return "quality" for a score that is NaN or below the bound."""
        return None if self._score(document) >= self._settings.at_least else "quality"

    def _score(self, document: Document) -> float:
        function, where = load_function(self._settings.function), self._settings.function
        try:
            scores = function([document.text])
        except Exception as error:
            what = f"the quality function {where} failed on {document.id}"
            raise YxanulError(what, got=_in_one_line(error)) from error
        try:
            (score,) = scores
            return float(score)
        except (TypeError, ValueError):
            raise YxanulError(
                f"the quality function {where} returned no number for {document.id}",
                got=" ".join(repr(scores)[:200].split()),
                expected="one number per text, here one",
            ) from None


@lru_cache(maxsize=32)
def load_function(where: str) -> Function:
    """Load a function given as file.py:name; the file runs once per process."""
    from importlib.util import module_from_spec, spec_from_file_location

    path_text, _, name = where.rpartition(":")
    path = expand_home(path_text)
    if not path.is_file():
        raise YxanulError(f"quality function file not found: {path}")
    spec = spec_from_file_location(f"quality_function_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise YxanulError(f"{path} cannot be imported", got=_in_one_line(error)) from error
    function = getattr(module, name, None)
    if not callable(function):
        hint = did_you_mean(name, [key for key, value in vars(module).items() if callable(value)])
        raise YxanulError(f"{path} has no function '{name}'", hint=hint)
    return function


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
