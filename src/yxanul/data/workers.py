"""Executors on this machine; worker processes never outlive their parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import IO, Any

from yxanul.base.errors import YxanulError
from yxanul.data.executor import Executor, Worker, WorkerTask, limit_threads
from yxanul.data.storage import Storage, worker_lock
from yxanul.tokenizer.tokenizer import Tokenizer

_QUEUED_PER_WORKER = 4


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
            hint="if it ran out of memory, lower data.workers; rerun the same command to resume",
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
