"""Worker processes that never outlive their parent."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from yxanul.base.errors import YxanulError
from yxanul.data.executor import Counts, Executor, WorkerContext, WorkerTask
from yxanul.tokenizer.tokenizer import Tokenizer

_ORPHAN_TIMEOUT_SECONDS = 30.0
_TICK_SECONDS = 0.5
# Bounds the queue: a million tasks need not be pickled at once.
_QUEUED_PER_WORKER = 4


@contextlib.contextmanager
def in_process_executor(tokenizer: Tokenizer) -> Iterator[Executor]:
    """Open an executor that runs tasks in this process."""
    yield _InProcess(tokenizer)


@contextlib.contextmanager
def process_executor(num_workers: int, tokenizer: Tokenizer, folder: Path) -> Iterator[Executor]:
    """Open an executor on a pool of processes. Leaving the block early, by Ctrl-C or an error,
    kills them at once; so does the death of this process."""
    context = multiprocessing.get_context("spawn")
    lifeline, held_end = context.Pipe(duplex=False)
    tally = context.Array("q", len(Counts._fields))
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(
            lifeline,
            str(lock_file(folder)),
            tally,
            tokenizer.to_json(),
            tokenizer.end_of_text,
        ),
    )
    try:
        yield _Processes(pool, tally, num_workers * _QUEUED_PER_WORKER)
        pool.shutdown()
    finally:
        held_end.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def wait_for_orphans(folder: Path) -> None:
    """Wait for the workers of a killed process, which exit by themselves."""
    deadline = time.monotonic() + _ORPHAN_TIMEOUT_SECONDS
    with open(lock_file(folder), "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise YxanulError(
                        f"workers of an earlier run still write to {folder}",
                        hint="stop them, or choose another folder",
                    ) from None
                time.sleep(0.02)


def lock_file(folder: Path) -> Path:
    """Return the lock file that workers hold while they may write to a folder."""
    return folder / ".workers"


class _InProcess:
    """Executor in this process."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.counts = Counts()
        self._context = WorkerContext(tokenizer, self._count)

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        for task in tasks:
            yield task, task.run(self._context)

    def _count(self, counts: Counts) -> None:
        self.counts = self.counts.plus(counts)


class _Processes:
    """Executor on a pool of processes."""

    def __init__(self, pool: ProcessPoolExecutor, tally: Any, max_running: int) -> None:
        self._pool, self._tally, self._max_running = pool, tally, max_running

    @property
    def counts(self) -> Counts:
        with self._tally.get_lock():
            return Counts(*self._tally)

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        waiting, running = iter(tasks), {}
        while True:
            for task in waiting:
                running[self._submit(task)] = task
                if len(running) >= self._max_running:
                    break
            if not running:
                return
            done, _ = wait(running, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), _result(future)
            yield None

    def _submit(self, task: WorkerTask) -> Future[Any]:
        try:
            with _without_interrupts():
                return self._pool.submit(_work, task)
        except BrokenProcessPool:
            raise _killed() from None


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise _killed() from None


def _killed() -> YxanulError:
    return YxanulError(
        "a worker process that prepared text was killed",
        hint="if it ran out of memory, lower data.workers; rerun the same command to resume",
    )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold signals back until the end of the block: a worker that is not told all dies loudly.

    SIGINT is also blocked. Workers inherit that, so that only the parent gets Ctrl-C.
    """
    held: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    numbers = (signal.SIGINT, signal.SIGTERM) if _is_main_thread() else ()
    handlers = {n: signal.signal(n, lambda number, _: held.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in held:
            signal.raise_signal(number)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class _Worker:
    """State of a worker process between tasks."""

    context: WorkerContext
    lock: IO[str]


def _start_worker(
    lifeline: Connection, lock: str, tally: Any, tokenizer: str, end_of_text: str
) -> None:
    """Initialize a worker: tie its life to the parent's, share the lock, load the tokenizer."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    _Worker.lock = open(lock)  # noqa: SIM115 - held until the process ends
    fcntl.flock(_Worker.lock, fcntl.LOCK_SH)

    def count(counts: Counts) -> None:
        with tally.get_lock():
            for i, count in enumerate(counts):
                tally[i] += count

    _Worker.context = WorkerContext(Tokenizer.from_json(tokenizer, end_of_text), count)


def _die_with(lifeline: Connection) -> None:
    """Kill this process once the parent's end of the pipe closes, however the parent ends."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os.kill(os.getpid(), signal.SIGKILL)


def _work(task: WorkerTask) -> Any:
    return task.run(_Worker.context)
