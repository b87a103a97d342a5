"""Worker processes that prepare text, and that never outlive the process they work for."""

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

_ORPHANS_SECONDS = 30.0
_TICK_SECONDS = 0.5
# So many tasks wait for each worker: a million parts need not be pickled at once.
_WAITING_A_WORKER = 4


@contextlib.contextmanager
def work_here(tokenizer: Tokenizer) -> Iterator[Executor]:
    """Give an engine that does every task in this process."""
    yield _Here(tokenizer)


@contextlib.contextmanager
def work_in_processes(num_workers: int, tokenizer: Tokenizer, folder: Path) -> Iterator[Executor]:
    """Give an engine of processes. Leaving the block early, by Ctrl-C or an error, ends them at
    once; so does the death of this process."""
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
        yield _Processes(pool, tally, num_workers * _WAITING_A_WORKER)
        pool.shutdown()
    finally:
        held_end.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def wait_for_orphans(folder: Path) -> None:
    """Wait until the workers of a killed process, which end by themselves, are gone."""
    deadline = time.monotonic() + _ORPHANS_SECONDS
    with open(lock_file(folder), "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise YxanulError(
                        f"processes of an earlier call still write to {folder}",
                        hint="end them, or choose another folder",
                    ) from None
                time.sleep(0.02)


def lock_file(folder: Path) -> Path:
    """Return the file that workers hold as long as they may write to a folder."""
    return folder / ".workers"


class _Here:
    """Does tasks one after the other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.counts = Counts()
        self._bench = WorkerContext(tokenizer, self._count)

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        for task in tasks:
            yield task, task.run(self._bench)

    def _count(self, counts: Counts) -> None:
        self.counts = self.counts.plus(counts)


class _Processes:
    """Does tasks in a pool of processes."""

    def __init__(self, pool: ProcessPoolExecutor, tally: Any, at_once: int) -> None:
        self._pool, self._tally, self._at_once = pool, tally, at_once

    @property
    def counts(self) -> Counts:
        with self._tally.get_lock():
            return Counts(*self._tally)

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        waiting, running = iter(tasks), {}
        while True:
            for task in waiting:
                running[self._submit(task)] = task
                if len(running) >= self._at_once:
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
        hint="if memory ran out, lower data.workers; the same command goes on with what is missing",
    )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile never see it: their parent decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a worker process keeps between two tasks."""

    context: WorkerContext
    lock: IO[str]


def _start_worker(
    lifeline: Connection, lock: str, tally: Any, tokenizer: str, end_of_text: str
) -> None:
    """Set this process up: it dies with its parent, shares the lock, has its tokenizer."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    _Worker.lock = open(lock)  # noqa: SIM115 - held as long as the process lives
    fcntl.flock(_Worker.lock, fcntl.LOCK_SH)

    def count(counts: Counts) -> None:
        with tally.get_lock():
            for place, more in enumerate(counts):
                tally[place] += more

    _Worker.context = WorkerContext(Tokenizer.from_json(tokenizer, end_of_text), count)


def _die_with(lifeline: Connection) -> None:
    """Wait for the other end to close, as it does when its process ends in any way."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os.kill(os.getpid(), signal.SIGKILL)


def _work(task: WorkerTask) -> Any:
    return task.run(_Worker.context)
