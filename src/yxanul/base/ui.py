"""How long work shows itself: packages speak to a `Ui`; only the command line draws one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

_SAY_SECONDS = 30.0


class ProgressTask(Protocol):
    """One piece of long work on display."""

    def advance(self, amount: float, note: str = "") -> None:
        """Move on by `amount` units; `note` is a short text such as a loss."""

    def expect(self, total: float) -> None:
        """Take note that it is `total` units after all."""


class Ui(Protocol):
    """What packages may tell the person in front of the machine."""

    def say(self, line: str) -> None:
        """Show one line of news."""

    def warn(self, line: str) -> None:
        """Show one line that wants attention."""

    def task(
        self, title: str, total: float, unit: str
    ) -> contextlib.AbstractContextManager[ProgressTask]:
        """Show a bar with rate and time left while the block runs."""
        ...


class _SilentTask:
    def advance(self, amount: float, note: str = "") -> None:
        pass

    def expect(self, total: float) -> None:
        pass


class SilentUi:
    """A `Ui` that shows nothing: the default in tests and notebooks."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def warn(self, line: str) -> None:
        """Drop the warning."""

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[ProgressTask]:
        """Run the block without a bar."""
        yield _SilentTask()


class BackgroundUi:
    """Says now and then how far the work is; the bar belongs to the training."""

    def __init__(self, ui: Ui) -> None:
        self.say, self.warn = ui.say, ui.warn

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[ProgressTask]:
        """Say a line every half minute, and one at the end."""
        task = _BackgroundTask(self, title, total)
        yield task
        self.say(f"{title}: done")


class _BackgroundTask:
    def __init__(self, ui: BackgroundUi, title: str, total: float) -> None:
        self._ui, self._title, self._total = ui, title, total
        self._done, self._said = 0.0, time.monotonic()

    def expect(self, total: float) -> None:
        self._total = total

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        if time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            share = self._done / max(self._total, 1)
            self._ui.say(f"{self._title}: {share:.0%}, {note}")
