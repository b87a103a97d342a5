"""The filter by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from yxanul.base.errors import YxanulError, near_miss
from yxanul.text.documents import Document
from yxanul.text.filters.config import QualityFilterSettings

Function: TypeAlias = Callable[[list[str]], Any]


class QualityFilter:
    """Documents that a function scores highly. It is asked about one document at a time.

    So the score of a document cannot depend on the documents beside it.
    """

    def __init__(self, settings: QualityFilterSettings):
        self._settings = settings
        load_function(settings.function)

    def cause(self, document: Document) -> str | None:
        """Return "quality" for a score below the bound, or one that is not a number."""
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
                f"the quality function {where} gave no number for {document.id}",
                got=" ".join(repr(scores)[:200].split()),
                expected="as many numbers as it was given texts: one",
            ) from None


@lru_cache(maxsize=32)
def load_function(where: str) -> Function:
    """Return the function that `where` names as file.py:name; a process runs the file once."""
    from importlib.util import module_from_spec, spec_from_file_location

    path_text, _, name = where.rpartition(":")
    path = Path(path_text).expanduser()
    if not path.is_file():
        raise YxanulError(f"there is no file {path} with a quality function")
    spec = spec_from_file_location(f"quality_function_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise YxanulError(f"{path} cannot be run", got=_in_one_line(error)) from error
    function = getattr(module, name, None)
    if not callable(function):
        hint = near_miss(name, [key for key, value in vars(module).items() if callable(value)])
        raise YxanulError(f"{path} has no function '{name}'", hint=hint)
    return function


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
