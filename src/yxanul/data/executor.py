"""What a process that prepares text keeps open between two tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from yxanul.data.scratch import Scratch
from yxanul.text.config import CommonSettings
from yxanul.text.decontaminate import Decontaminate, Ngrams
from yxanul.text.filters.filter import Filter
from yxanul.text.filters.table import open_filters
from yxanul.text.sources import Source, open_source
from yxanul.tokenizer.tokenizer import Tokenizer


class Counts(NamedTuple):
    """What has gone through."""

    documents: int = 0
    tokens: int = 0
    text_bytes: int = 0

    def plus(self, more: Counts) -> Counts:
        """Return the sum."""
        return Counts(*(a + b for a, b in zip(self, more, strict=True)))


class WorkerTask(Protocol):
    """A piece of work that any process can do: it is a value, and its results are files."""

    def run(self, context: WorkerContext) -> Any:
        """Do it."""
        ...


class Executor(Protocol):
    """Does tasks, here or elsewhere."""

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        """Yield each task with its result as it is done, and None now and then meanwhile."""
        ...

    @property
    def counts(self) -> Counts:
        """What has gone through so far."""
        ...


class WorkerContext:
    """Opens each source, its filters and the tokenizer once."""

    def __init__(self, tokenizer: Tokenizer, count: Callable[[Counts], None]) -> None:
        self.tokenizer = tokenizer
        self._count = count
        self._sources: dict[str, Source] = {}
        self._filters: dict[str, Sequence[Filter]] = {}

    def source(self, name: str, settings: CommonSettings) -> Source:
        """Return the source that `settings` describe."""
        if name not in self._sources:
            self._sources[name] = open_source(name, settings)
        return self._sources[name]

    def filters(self, name: str, settings: CommonSettings, ngrams: Path | None) -> Sequence[Filter]:
        """Return the filters of a source; the last one looks for what benchmarks ask."""
        if name not in self._filters:
            extra = [Decontaminate(Ngrams.load(ngrams))] if ngrams else []
            self._filters[name] = [*open_filters(settings), *extra]
        return self._filters[name]

    @cached_property
    def scratch(self) -> Path:
        """A folder for files on their way elsewhere, as long as this process lives."""
        self._scratch = Scratch()
        return self._scratch.folder

    def count(self, documents: int, tokens: int, text_bytes: int) -> None:
        """Tell that so much has gone through."""
        self._count(Counts(documents, tokens, text_bytes))
