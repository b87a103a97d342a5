"""Interfaces of tasks and executors, and the state that a worker keeps between tasks."""

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
    """Totals of the encoded text."""

    documents: int = 0
    tokens: int = 0
    text_bytes: int = 0

    def plus(self, more: Counts) -> Counts:
        """Return the sum."""
        return Counts(*(a + b for a, b in zip(self, more, strict=True)))


class WorkerTask(Protocol):
    """A picklable task that any process can run; its results are files."""

    def run(self, context: WorkerContext) -> Any:
        """Run the task."""
        ...


class Executor(Protocol):
    """Runs tasks in this process or in others."""

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        """Yield each task with its result as it completes, and None periodically in between."""
        ...

    @property
    def counts(self) -> Counts:
        """Totals so far."""
        ...


class WorkerContext:
    """State of a worker: each source and its filters, opened once, and the tokenizer."""

    def __init__(self, tokenizer: Tokenizer, count: Callable[[Counts], None]) -> None:
        self.tokenizer = tokenizer
        self._count = count
        self._sources: dict[str, Source] = {}
        self._filters: dict[str, Sequence[Filter]] = {}

    def source(self, name: str, settings: CommonSettings) -> Source:
        """Return the source `name`."""
        if name not in self._sources:
            self._sources[name] = open_source(name, settings)
        return self._sources[name]

    def filters(self, name: str, settings: CommonSettings, ngrams: Path | None) -> Sequence[Filter]:
        """Return the filters of a source; decontamination is the last."""
        if name not in self._filters:
            extra = [Decontaminate(Ngrams.load(ngrams))] if ngrams else []
            self._filters[name] = [*open_filters(settings), *extra]
        return self._filters[name]

    @cached_property
    def scratch(self) -> Path:
        """A scratch folder that lives as long as this process."""
        self._scratch = Scratch()
        return self._scratch.folder

    def count(self, documents: int, tokens: int, text_bytes: int) -> None:
        """Add to the totals."""
        self._count(Counts(documents, tokens, text_bytes))
