"""Asynchronous checkpoint saves, from copies of the tensors."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.write import check_plain, place_of, write_checkpoint

Tensors = Mapping[str, Mapping[str, torch.Tensor]]
"""Tensors by file and by name."""


class CheckpointWriter:
    """Saves checkpoints to one folder from copies, one at a time, each in its own thread.

    Non-finite tensors are refused: training cannot resume from them, and rotation would delete
    good checkpoints. The writer owns the folder between `submit` and `wait`: callers wait before
    they read, delete or write there. An error in the thread is raised by the next call of any
    method. The thread is not a daemon: a process that exits first finishes the save.
    """

    def __init__(self, folder: Path, *, background: bool = True) -> None:
        self.folder = folder
        self.background = background
        self.seconds_held = 0.0
        """Total time for which `submit` and `wait` blocked their callers."""
        self._snapshot = Snapshot()
        self._save: _Save | None = None

    def submit(
        self,
        step: int,
        tensors: Tensors,
        state: Any,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Start `write_checkpoint` followed by `after`; return once the tensors are copied.

        Waits for a previous save first; if that failed, raises its error and starts nothing.
        `after` runs in the thread, once the checkpoint is on disk.
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
        """Block until the save is on disk; raise its error. Ctrl-C interrupts the wait."""
        if self._save is None:
            return
        start = time.perf_counter()
        try:
            self._save.done.wait()  # after an interrupt, wait() can be called again
        finally:
            self.seconds_held += time.perf_counter() - start
        error, self._save = self._save.error, None
        if error is not None:
            raise error

    def check(self) -> None:
        """Raise the error of a finished save; never block."""
        if self._save is not None and self._save.done.is_set():
            self.wait()

    def close(self) -> None:
        """Call `wait`, and free the copies."""
        try:
            self.wait()
        finally:
            if self._save is None:
                self._snapshot.forget()

    def _write(
        self, step: int, tensors: Tensors, state: Any, after: Callable[[], None] | None
    ) -> None:
        check_finite(step, tensors)
        write_checkpoint(self.folder, step, tensors, state)
        try:
            if after is not None:
                after()
        except OSError as error:
            raise YxanulError(
                f"the checkpoint of step {step} was written, but not its accompanying files",
                got=error,
                hint="free some space or make the folder writable, and resume from this checkpoint",
            ) from error


def check_finite(step: int, tensors: Tensors) -> None:
    """Raise YxanulError if a tensor contains NaN or infinity."""
    for stem, named in tensors.items():
        for name, tensor in named.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise YxanulError(
                    f"the checkpoint of step {step} was not written",
                    got=f"a tensor that is not finite: {name} of {stem}",
                    hint="earlier checkpoints are untouched; rerun the same command to resume;"
                    " if it happens again, lower optim.peak_lr or train in fp32",
                )


class _Save:
    """One save in a thread, and its error if it failed."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.done = threading.Event()  # not join(): in Python 3.11 Ctrl-C breaks later joins
        self.error: BaseException | None = None
        self._work: Callable[[], None] | None = work

    def start(self, name: str) -> None:
        """Start the thread; run here if no thread can be started."""
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


class Snapshot:
    """CPU buffers for one set of tensors, reused by later copies of the same set.

    Holds one copy of each tensor, whatever the number of saves. GPU tensors are copied into pinned
    memory asynchronously, with one wait at the end.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], torch.Tensor] = {}

    def take(self, tensors: Tensors) -> dict[str, dict[str, torch.Tensor]]:
        """Return copies of the tensors, valid until the next call.

        Tied weights stay tied: one copy under several names.
        """
        before, self._buffers = self._buffers, {}
        copies: dict[str, dict[str, torch.Tensor]] = {stem: {} for stem in tensors}
        first_of: dict[object, torch.Tensor] = {}
        devices: set[torch.device] = set()
        flat = ((stem, *one) for stem, named in tensors.items() for one in named.items())
        for stem, name, tensor in flat:
            key = place_of(tensor) if tensor.numel() else (stem, name)
            if key not in first_of:
                buffer = _fitting(before.pop((stem, name), None), tensor)
                buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
                first_of[key] = self._buffers[stem, name] = buffer
                devices |= {tensor.device} if tensor.is_cuda else set()
            copies[stem][name] = first_of[key]
        for device in devices:
            torch.cuda.current_stream(device).synchronize()
        return copies

    def forget(self) -> None:
        """Free the buffers."""
        self._buffers = {}


def _fitting(buffer: torch.Tensor | None, tensor: torch.Tensor) -> torch.Tensor:
    """Return the buffer if its shape and dtype match `tensor`, or else a new one."""
    if buffer is not None and (buffer.shape, buffer.dtype) == (tensor.shape, tensor.dtype):
        return buffer
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.is_cuda)
