"""Write checkpoints while the training goes on."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.snapshot import Snapshot
from yxanul.checkpoint.write import check_plain, write_checkpoint


class CheckpointWriter:
    """Writes the checkpoints of one folder from copies, one at a time, each in its own thread.

    What is not finite is refused: no training can go on from it, and it would drive what is good
    out. All files of the folder are its own between `submit` and `wait`: whoever reads, deletes or
    writes there waits first. What goes wrong in the thread is raised by the next call of any
    method. The thread is none of the kind that dies with the main thread: a process that ends
    finishes the save it has begun.
    """

    def __init__(self, folder: Path, *, background: bool = True) -> None:
        self.folder = folder
        self.background = background
        self.seconds_held = 0.0
        """For how long callers of `submit` and `wait` had to wait, all in all."""
        self._snapshot = Snapshot()
        self._save: _Save | None = None

    def submit(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Any,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Write what `write_checkpoint` would, then call `after`; return when all is copied.

        A save that is still being written is waited for, and what went wrong with it is raised:
        then this one is not begun. `after` runs in the thread, once the checkpoint is on the disk.
        """
        check_plain(state, "state")
        self.wait()
        start = time.perf_counter()
        if self.background:
            copies, plain = self._snapshot.take(tensors), copy.deepcopy(state)
            self._save = _Save(lambda: self._write(step, copies, plain, after))
            self._save.start(f"checkpoint of step {step}")
        else:
            self._write(step, tensors, state, after)
        self.seconds_held += time.perf_counter() - start

    def wait(self) -> None:
        """Return when everything is on the disk; raise what went wrong. Ctrl-C gets through."""
        if self._save is None:
            return
        start = time.perf_counter()
        try:
            self._save.done.wait()  # an interrupt leaves it in place, to be waited for again
        finally:
            self.seconds_held += time.perf_counter() - start
        error, self._save = self._save.error, None
        if error is not None:
            raise error

    def check(self) -> None:
        """Raise what went wrong in a save that has ended; wait for nothing."""
        if self._save is not None and self._save.done.is_set():
            self.wait()

    def close(self) -> None:
        """Wait as `wait` does, and give the memory of the copies back."""
        try:
            self.wait()
        finally:
            if self._save is None:
                self._snapshot.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What went wrong in the thread comes before `error`, which it then names as its context:
        # "interrupted; all is saved" must not be said of a save that failed.
        self.close()

    def _write(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Any,
        after: Callable[[], None] | None,
    ) -> None:
        check_finite(step, tensors)
        write_checkpoint(self.folder, step, tensors, state)
        try:
            if after is not None:
                after()
        except OSError as error:
            raise YxanulError(
                f"the checkpoint of step {step} is written, but not what goes with it",
                got=error,
                hint="free some space, or make the folder writable, and start again from there",
            ) from error


def check_finite(step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Raise `YxanulError` if a tensor holds NaN or infinity."""
    for stem, named in tensors.items():
        for name, tensor in named.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise YxanulError(
                    f"the checkpoint of step {step} was not written",
                    got=f"{name} of {stem}, which is not finite",
                    hint="earlier checkpoints are untouched: the same command goes on from there;"
                    " where it comes to the same, lower optim.peak_lr, or train in fp32",
                )


class _Save:
    """One piece of work in a thread, and how it ended."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.done = threading.Event()  # and no join: Python 3.11 forgets a join that Ctrl-C ends
        self.error: BaseException | None = None
        self._work: Callable[[], None] | None = work

    def start(self, name: str) -> None:
        """Begin; where no thread is to be had, do it here."""
        try:
            threading.Thread(target=self._run, name=name, daemon=False).start()
        except RuntimeError:
            self._run()

    def _run(self) -> None:
        assert self._work is not None
        try:
            self._work()
        except BaseException as error:
            self.error = error
        finally:
            self._work = None
            self.done.set()
