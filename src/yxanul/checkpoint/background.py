"""Asynchronous checkpoint saves, from copies of the tensors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.write import write_checkpoint

Tensors = Mapping[str, Mapping[str, torch.Tensor]]
"""Tensors by file and by name."""


class CheckpointWriter:
    """Saves checkpoints to one folder from copies, one at a time, in a thread.

    Non-finite tensors are refused: training cannot resume from them, and rotation would delete
    good checkpoints. The writer owns the folder between `submit` and `wait`: callers wait before
    they read, delete or write there. An error in the thread is raised by the next call of any
    method. At exit of the interpreter a running save is finished first.
    """

    def __init__(self, folder: Path, *, background: bool = True) -> None:
        self.folder = folder
        self.background = background
        self.seconds_blocked = 0.0
        """Total time for which `submit` and `wait` blocked their callers."""
        self._copies: dict[str, dict[str, torch.Tensor]] = {}
        self._thread = _executor()
        self._save: futures.Future[None] | None = None

    def submit(
        self, step: int, tensors: Tensors, state: Any, after: Callable[[], None] | None = None
    ) -> None:
        """Start `write_checkpoint` followed by `after`; return once the tensors are copied.

        Waits for a previous save first; if that failed, raises its error and starts nothing.
        `after` runs in the thread, once the checkpoint is on disk.
        """
        self.wait()
        start = time.perf_counter()
        if self.background:
            plain = json.loads(json.dumps(state))
            self._copies = copy_to_cpu(tensors, self._copies)
            try:
                self._save = self._thread.submit(self._write, step, self._copies, plain, after)
            except RuntimeError:  # no thread can be started: a new executor holds no failed job
                self._thread = _executor()
                self._write(step, self._copies, plain, after)
        else:
            self._write(step, tensors, state, after)
        self.seconds_blocked += time.perf_counter() - start

    def wait(self) -> None:
        """Block until the save is on disk; raise its error. Ctrl-C interrupts the wait."""
        if self._save is None:
            return
        start = time.perf_counter()
        try:
            futures.wait([self._save])  # after an interrupt, this can be called again
        finally:
            self.seconds_blocked += time.perf_counter() - start
        save, self._save = self._save, None
        save.result()

    def check(self) -> None:
        """Raise the error of a finished save; never block."""
        if self._save is not None and self._save.done():
            self.wait()

    def close(self) -> None:
        """Call `wait`, and free the copies."""
        try:
            self.wait()
        finally:
            if self._save is None:
                self._copies = {}

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


def _executor() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")


def check_finite(step: int, tensors: Tensors) -> None:
    """Raise YxanulError if a tensor contains NaN or infinity."""
    for stem, named in tensors.items():
        for name, tensor in named.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise YxanulError(
                    f"the checkpoint of step {step} was not written",
                    got=f"a tensor that is not finite: {name} of {stem}",
                    hint="earlier checkpoints are untouched; run the same command to resume;"
                    " if it happens again, lower optim.peak_lr or train in fp32",
                )


def copy_to_cpu(
    tensors: Tensors, before: dict[str, dict[str, torch.Tensor]]
) -> dict[str, dict[str, torch.Tensor]]:
    """Return copies on the CPU, in the memory of those of `before` that fit; empties `before`.

    GPU tensors are copied into pinned memory asynchronously, with one wait at the end.
    """
    copies: dict[str, dict[str, torch.Tensor]] = {}
    devices: set[torch.device] = set()
    for stem, named in tensors.items():
        old, copies[stem] = before.pop(stem, {}), {}
        for name, tensor in named.items():
            buffer = old.pop(name, None)
            if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype):
                pinned = tensor.is_cuda
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
            copies[stem][name] = buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
            devices |= {tensor.device} if tensor.is_cuda else set()
    for device in devices:
        torch.cuda.current_stream(device).synchronize()
    return copies
