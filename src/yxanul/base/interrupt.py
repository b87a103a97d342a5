"""Ctrl-C and SIGTERM: stop at once where that is safe, after the step where it is not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from yxanul.base.errors import Interrupted


class StopRequest:
    """Turns SIGINT and SIGTERM into `Interrupted`, now or at the next safe moment.

    All files of a run are written whole or not at all, so that stopping at once loses no file.
    Inside `deferred()` the first signal is only noted: the training loop finishes its step and
    saves. A second SIGINT stops at once anyway.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._deferred = False

    @contextlib.contextmanager
    def handled(self) -> Iterator[StopRequest]:
        """Handle both signals while the block runs (in the main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

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
        first, self.signal_number = self.signal_number is None, self.signal_number or number
        # A second Ctrl-C means it; a machine that is taken away may say so several times.
        if not (self._deferred and (first or number == signal.SIGTERM)):
            name = signal.Signals(number).name
            raise Interrupted(
                f"stopped by {name}",
                signal_number=number,
                hint="the same command goes on from what is on disk",
            )
