"""Tasks that any process can run, the worker that runs them, the executor that hands them out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from yxanul.data.storage import RemoteStorage, Storage, scratch_folder
from yxanul.text.config import CommonSettings
from yxanul.text.decontaminate import Decontaminate, Ngrams
from yxanul.text.filters.table import Filter, open_filters
from yxanul.text.sources import Source, open_source
from yxanul.tokenizer.tokenizer import Tokenizer

_TICK_SECONDS = 0.5


class WorkerTask(Protocol):
    """A picklable task; its results are files of the data folder."""

    def run(self, worker: Worker, folder: Path) -> Any:
        """Run the task: write its files below `folder`."""
        ...

    def outputs(self, folder: Path) -> list[Path]:
        """Return the files that it writes; the last one shows that it is done."""
        ...


class Worker:
    """Runs tasks, and keeps what they share: the tokenizer, sources and filters, opened once."""

    def __init__(self, tokenizer: Tokenizer, storage: Storage) -> None:
        self.tokenizer = tokenizer
        self._home = self._storage = storage
        self._sources: dict[str, Source] = {}
        self._filters: dict[str, Sequence[Filter]] = {}

    def run(self, task: WorkerTask) -> Any:
        """Run a task; for an address in a scratch folder, whose files are uploaded."""
        home = self._home
        if not isinstance(home, RemoteStorage):
            return task.run(self, home.folder)
        with scratch_folder() as folder:
            self._storage = RemoteStorage(home.address, folder, home.writer)
            value = task.run(self, folder)
            self._storage.push(task.outputs(folder))
        return value

    def file(self, name: str) -> Path:
        """Return the path of a file of the data folder that a task reads."""
        path = self._storage.folder / name
        self._storage.pull([path])
        return path

    def source(self, name: str, settings: CommonSettings) -> Source:
        """Return the source `name`."""
        if name not in self._sources:
            self._sources[name] = open_source(name, settings)
        return self._sources[name]

    def filters(self, name: str, settings: CommonSettings, ngrams: str | None) -> Sequence[Filter]:
        """Return the filters of a source; decontamination by the file `ngrams` is the last."""
        if name not in self._filters:
            extra = [Decontaminate(Ngrams.load(self.file(ngrams)))] if ngrams else []
            self._filters[name] = [*open_filters(settings), *extra]
        return self._filters[name]


class Executor:
    """Hands out tasks: a few at a time, since a million need not be queued at once."""

    def __init__(self, submit: Callable[[WorkerTask], Future[Any]], max_running: int) -> None:
        self._submit, self._max_running = submit, max_running
        self.running: dict[Future[Any], WorkerTask] = {}

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        """Yield each task with its result as it completes, and None periodically in between."""
        waiting = iter(tasks)
        while True:
            for task in islice(waiting, self._max_running - len(self.running)):
                self.running[self._submit(task)] = task
            if not self.running:
                return
            done, _ = wait(self.running, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield self.running.pop(future), future.result()
            yield None


def limit_threads() -> None:
    """Let the tokenizer use one thread: every core has a worker of its own."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
