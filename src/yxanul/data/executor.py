"""Tasks that any process can run, the worker that runs them, the executors that hand them out.

Worker processes never outlive their parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Protocol

from yxanul.base.errors import YxanulError
from yxanul.data.storage import RemoteStorage, Storage, scratch_folder, worker_lock
from yxanul.text.config import CommonSettings
from yxanul.text.decontaminate import Decontaminate, Ngrams
from yxanul.text.filters.table import Filter, open_filters
from yxanul.text.sources import Source, open_source
from yxanul.tokenizer.tokenizer import Tokenizer

_TICK_SECONDS = 0.5
_QUEUED_PER_WORKER = 4


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


def in_process_executor(tokenizer: Tokenizer, storage: Storage) -> Executor:
    """Return an executor that runs tasks in this process."""
    worker = Worker(tokenizer, storage)

    def submit(task: WorkerTask) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(worker.run(task))
        return future

    return Executor(submit, max_running=1)


@contextlib.contextmanager
def process_executor(
    num_workers: int, tokenizer: Tokenizer, storage: Storage
) -> Iterator[Executor]:
    """Open an executor on a pool of processes. Leaving the block early, by Ctrl-C or an error,
    kills them at once; so does the death of this process."""
    context = multiprocessing.get_context("spawn")
    lifeline, held_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(lifeline, storage, tokenizer.to_json(), tokenizer.end_of_text),
    )

    def submit(task: WorkerTask) -> Future[Any]:
        with _without_interrupts():
            return pool.submit(_work, task)

    try:
        yield Executor(submit, num_workers * _QUEUED_PER_WORKER)
        pool.shutdown()
    except BrokenProcessPool:
        raise YxanulError(
            "a worker process that prepared text was killed",
            hint="if it ran out of memory, lower data.workers; run the same command to resume",
        ) from None
    finally:
        held_end.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold signals back until the end of the block: a worker that is not told all dies loudly.

    SIGINT is also blocked. Workers inherit that, so that only the parent gets Ctrl-C.
    """
    held: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    handlers = {n: signal.signal(n, lambda number, _: held.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in held:
            signal.raise_signal(number)


class _Process:
    """State of a worker process."""

    worker: Worker
    lock: IO[str]
    """Held until the process ends."""


def _start_worker(lifeline: Connection, storage: Storage, tokenizer: str, end_of_text: str) -> None:
    """Initialize a worker: tie its life to the parent's, share the lock, load the tokenizer."""
    limit_threads()
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    _Process.lock = worker_lock(storage.folder)
    _Process.worker = Worker(Tokenizer.from_json(tokenizer, end_of_text), storage)


def _die_with(lifeline: Connection) -> None:
    """Kill this process once the parent's end of the pipe closes, however the parent ends."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os.kill(os.getpid(), signal.SIGKILL)


def _work(task: WorkerTask) -> Any:
    return _Process.worker.run(task)


def limit_threads() -> None:
    """Let the tokenizer use one thread: every core has a worker of its own."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
