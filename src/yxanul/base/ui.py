"""Progress and messages: packages write to a `Ui`; only the command line displays one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

_LINE_SECONDS = 30.0


class ProgressTask(Protocol):
    """Progress bar of one task."""

    def advance(self, amount: float, note: str = "") -> None:
        """Advance by `amount` units; `note` is a short text such as a loss."""

    def expect(self, total: float) -> None:
        """Change the expected total to `total` units."""


class Ui(Protocol):
    """Interface for messages to the user."""

    def say(self, line: str) -> None:
        """Show one informational line."""

    def warn(self, line: str) -> None:
        """Show one warning line."""

    def task(
        self, title: str, total: float, unit: str, done: int = 0
    ) -> contextlib.AbstractContextManager[ProgressTask]:
        """Show a progress bar with rate and remaining time inside the block; `done` units were done
        before. A total that is not known yet is infinite."""
        ...


class _SilentTask:
    def advance(self, amount: float, note: str = "") -> None:
        pass

    def expect(self, total: float) -> None:
        pass


class SilentUi:
    """`Ui` that shows nothing; used in tests and notebooks."""

    def say(self, line: str) -> None:
        """Ignore the line."""

    def warn(self, line: str) -> None:
        """Ignore the warning."""

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str, done: int = 0) -> Iterator[ProgressTask]:
        """Run the block without a progress bar."""
        yield _SilentTask()


class BackgroundUi:
    """`Ui` for background work: occasional lines instead of a bar, which training occupies."""

    def __init__(self, ui: Ui) -> None:
        self.say, self.warn = ui.say, ui.warn

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str, done: int = 0) -> Iterator[ProgressTask]:
        """Print a line every 30 seconds and one at the end."""
        task = _BackgroundTask(self, title, total)
        yield task
        self.say(f"{title}: done")


class _BackgroundTask:
    def __init__(self, ui: BackgroundUi, title: str, total: float) -> None:
        self._ui, self._title, self._total = ui, title, total
        self._done, self._last_line = 0.0, time.monotonic()

    def expect(self, total: float) -> None:
        self._total = total

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        if time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            share = self._done / max(self._total, 1)
            self._ui.say(f"{self._title}: {share:.0%}, {note}")
