"""Handling of SIGINT and SIGTERM: stop immediately if safe, otherwise after the current step."""

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
"""Time a process has to react; Python handlers do not run inside C++, such as in collectives."""


class StopRequest:
    """Turns SIGINT and SIGTERM into `Interrupted`, immediately or at the next safe point.

    Stopping immediately is safe because all files of a run are written atomically. Inside
    `deferred()` the first signal is only recorded: the training loop finishes its step and saves.
    A second SIGINT stops immediately. While `Interrupted` unwinds, which may have to wait for other
    processes, a further signal raises nothing but ends the process after `GRACE_SECONDS`.
    """

    def __init__(self, after_step: int | None = None) -> None:
        self.after_step = after_step
        """Step of the run after which it saves and stops, as on a signal."""
        self.signal_number: int | None = None
        self._deferred = self._importing = self._raised = False
        self._before: dict[signal.Signals, Any] = {}

    @contextlib.contextmanager
    def handled(self) -> Iterator[StopRequest]:
        """Handle both signals inside the block (in the main thread only)."""
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
        self.raise_if_asked("stopped", hint=_RESUME)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Only record the first signal inside the block."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Only record signals inside the block, then raise: a module's C++ code would abort the
        process on an exception."""
        self._importing = True
        try:
            yield
        finally:
            self._importing = False
        self.raise_if_asked("stopped", hint=_RESUME)

    def pass_on(self, asked: bool) -> None:
        """Adopt a stop request that another rank received."""
        if asked and self.signal_number is None:
            self.signal_number = signal.SIGTERM

    def raise_if_asked(self, what: str, hint: str) -> None:
        """Raise `Interrupted` if a signal was recorded."""
        if self.signal_number is not None:
            raise Interrupted(what, signal_number=self.signal_number, hint=hint)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.signal_number = self.signal_number is not None, self.signal_number or number
        if self._is_for_now(number, again) and not self._raised:
            self._raised = True
            raise Interrupted("stopped", signal_number=number, hint=_RESUME)

    def _is_for_now(self, number: int, again: bool) -> bool:
        if self._importing:
            return False
        # A second Ctrl-C is deliberate; a scheduler may send SIGTERM several times.
        return number == signal.SIGINT if again else not self._deferred

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End the process if it does not react to a signal inside the block."""
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
            if (
                signal.getsignal(number) == self._receive
            ):  # otherwise another handler is responsible
                if self._is_for_now(number, again):
                    end = threading.Thread(
                        target=self._end, args=(number, again, left), daemon=True
                    )
                    end.start()
                again = True
        os.close(reader)

    def _end(self, number: int, again: bool, left: threading.Event) -> None:
        if not left.wait(GRACE_SECONDS) and (again or self.signal_number is None):
            with contextlib.suppress(BaseException):  # let the previous handler run
                self._before[signal.Signals(number)](number, None)
            os._exit(128 + number)


_RESUME = "run the same command to resume"
