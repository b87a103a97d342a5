"""Ctrl-C and SIGTERM: stop at once where that is safe, after the step where it is not."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from yxanul.base.errors import Interrupted

GRACE_SECONDS = 5.0
"""What a process has to react in; inside C++, where it may wait for others, no handler runs."""


class StopRequest:
    """Turns SIGINT and SIGTERM into `Interrupted`, now or at the next safe moment.

    All files of a run are written whole or not at all, so that stopping at once loses no file.
    Inside `deferred()` the first signal is only noted: the training loop finishes its step and
    saves. A second SIGINT stops at once anyway. While one unwinds, which may have to wait for
    processes, another is no second exception: it gives that `GRACE_SECONDS`.
    """

    def __init__(self, after_step: int | None = None) -> None:
        self.after_step = after_step
        """A step of the run after which it saves and stops, as a signal would make it."""
        self.signal_number: int | None = None
        self._deferred = self._raised = False
        self._before: dict[signal.Signals, Any] = {}

    @contextlib.contextmanager
    def handled(self) -> Iterator[StopRequest]:
        """Handle both signals while the block runs (in the main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._receive) for number in numbers}
        self._before = before
        try:
            with self._watched():
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.raise_if_asked("stopped", hint=_GO_ON)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the first signal while the block runs."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def pass_on(self, asked: bool) -> None:
        """Take a stop that another process of the same work was asked for as one's own."""
        if asked and self.signal_number is None:
            self.signal_number = signal.SIGTERM

    def raise_if_asked(self, what: str, hint: str) -> None:
        """Raise `Interrupted` if a signal was noted."""
        if self.signal_number is not None:
            raise Interrupted(what, signal_number=self.signal_number, hint=hint)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.signal_number = self.signal_number is not None, self.signal_number or number
        if self._is_for_now(number, again) and not self._raised:
            self._raised = True
            raise Interrupted("stopped", signal_number=number, hint=_GO_ON)

    def _is_for_now(self, number: int, again: bool) -> bool:
        # A second Ctrl-C means it; a machine that is taken away may say so several times.
        return number == signal.SIGINT if again else not self._deferred

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End the process should it not react to a signal while the block runs."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        left = threading.Event()
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(
            target=self._watch, args=(reader, left), name="signals", daemon=True
        ).start()
        try:
            yield
        finally:
            left.set()
            signal.set_wakeup_fd(before)
            os.close(writer)

    def _watch(self, reader: int, left: threading.Event) -> None:
        again = False
        while number := int.from_bytes(os.read(reader, 1)):
            if signal.getsignal(number) == self._receive:  # for who else handles it answers for it
                if self._is_for_now(number, again):
                    end = threading.Thread(
                        target=self._end, args=(number, again, left), daemon=True
                    )
                    end.start()
                again = True
        os.close(reader)

    def _end(self, number: int, again: bool, left: threading.Event) -> None:
        if not left.wait(GRACE_SECONDS) and (again or self.signal_number is None):
            with contextlib.suppress(BaseException):  # who handled it before may have last words
                self._before[signal.Signals(number)](number, None)
            os._exit(128 + number)


_GO_ON = "the same command goes on from what is on disk"
