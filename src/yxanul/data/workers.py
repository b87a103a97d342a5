"""Worker processes that encode parts, and that never outlive the process they work for."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from yxanul.base.errors import YxanulError
from yxanul.data.manifest import PartRecord
from yxanul.data.part import PartTask, encode_part
from yxanul.text.sources import Source, open_source
from yxanul.tokenizer.tokenizer import Tokenizer

_ORPHANS_SECONDS = 30.0

PartResult = tuple[PartTask, PartRecord, list[str]]
"""A finished part, and what the source notes for people."""

Results = Callable[[Sequence[PartTask]], Iterator[PartResult]]
"""Gives the results of some of the tasks as they are done."""


@contextlib.contextmanager
def encoders(
    num_workers: int, tokenizer: Tokenizer, folder: Path, tasks: Sequence[PartTask]
) -> Iterator[Results]:
    """Work on all `tasks`, in processes if there is more than one worker. Leaving the block
    early, by Ctrl-C or an error, ends them at once; so does the death of this process."""
    if num_workers <= 1:
        encode = _Encoder(tokenizer)
        yield lambda some: map(encode, some)
        return
    context = multiprocessing.get_context("spawn")
    lifeline, held_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(lifeline, str(_lock_file(folder)), tokenizer.to_json(), tokenizer.end_of_text),
    )
    try:
        with _without_interrupts():
            futures = {id(task): pool.submit(_work, task) for task in tasks}
        yield lambda some: _as_completed([futures[id(task)] for task in some])
        pool.shutdown()
    finally:
        held_end.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def wait_for_orphans(folder: Path) -> None:
    """Wait until the workers of a killed process, which end by themselves, are gone."""
    deadline = time.monotonic() + _ORPHANS_SECONDS
    with open(_lock_file(folder), "a") as file:
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


def _lock_file(folder: Path) -> Path:
    return folder / ".workers"


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile never see it: their parent decides."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_completed(futures: list[Future[PartResult]]) -> Iterator[PartResult]:
    try:
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise YxanulError(
            "a worker process that encoded text was killed",
            hint="if memory ran out, lower data.workers; the same command goes on "
            "with what is missing",
        ) from None


class _Encoder:
    """Encodes parts in this process; opens each source once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._sources: dict[str, Source] = {}

    def __call__(self, task: PartTask) -> PartResult:
        name = task.header.source
        if name not in self._sources:
            self._sources[name] = open_source(name, task.settings)
        source = self._sources[name]
        record = encode_part(task, source, self._tokenizer)
        return task, record, list(source.notes)


class _Worker:
    """What a worker process keeps between two parts."""

    encode: _Encoder
    lock: IO[str]


def _start_worker(lifeline: Connection, lock: str, tokenizer: str, end_of_text: str) -> None:
    """Set this process up: it dies with its parent, shares the lock, has its tokenizer."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    _Worker.lock = open(lock)  # noqa: SIM115 - held as long as the process lives
    fcntl.flock(_Worker.lock, fcntl.LOCK_SH)
    _Worker.encode = _Encoder(Tokenizer.from_json(tokenizer, end_of_text))


def _die_with(lifeline: Connection) -> None:
    """Wait for the other end to close, as it does when its process ends in any way."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os.kill(os.getpid(), signal.SIGKILL)


def _work(task: PartTask) -> PartResult:
    return _Worker.encode(task)
