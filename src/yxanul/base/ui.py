"""Progress and messages: packages write to a `Ui`; only the command line displays one."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from yxanul.base.figures import format_seconds


class ProgressTask(Protocol):
    """Progress bar of one task."""

    def advance(self, amount: float, note: str = "") -> None:
        """Advance by `amount` units; `note` is a short text such as a loss."""

    def expect(self, total: float) -> None:
        """Change the expected total to `total` units."""


class Ui(Protocol):
    """Interface for messages to the user."""

    def say(self, line: str, /) -> None:
        """Show one informational line."""

    def warn(self, line: str, /) -> None:
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


class LineUi:
    """`Ui` with occasional lines instead of a bar, as for a log, or while training has the bar."""

    def __init__(
        self, say: Callable[[str], None], warn: Callable[[str], None], seconds: float
    ) -> None:
        self.say, self.warn, self.seconds = say, warn, seconds

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str, done: int = 0) -> Iterator[ProgressTask]:
        """Show a line of progress every so many seconds, and one at the end."""
        task = _LineTask(self, title, total, unit, done)
        yield task
        if task.done != task.reported:
            task.report(ended=True)


class _LineTask:
    def __init__(self, ui: LineUi, title: str, total: float, unit: str, done: int):
        self.ui, self.title, self.total, self.unit = ui, title, total, unit
        self.before, self.done, self.note = done, float(done), ""
        self.reported: float | None = None
        self.start = self.last = time.monotonic()

    def advance(self, amount: float, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if now - self.last >= self.ui.seconds:
            self.last = now
            self.report()

    def expect(self, total: float) -> None:
        self.total = total

    def report(self, ended: bool = False) -> None:
        self.reported = self.done
        seconds = max(time.monotonic() - self.start, 1e-9)
        speed = (self.done - self.before) / seconds
        is_known = math.isfinite(self.total)
        total = f"/{self.total:,.0f}" if is_known else ""
        parts = [f"{self.title}: {self.done:,.0f}{total} {self.unit}"]
        parts.append(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s")
        if ended or self.done >= self.total or not speed:
            parts.append(f"took {format_seconds(seconds)}")
        elif is_known:
            parts.append(f"{format_seconds((self.total - self.done) / speed)} left")
        self.ui.say(", ".join([*parts, self.note] if self.note else parts))
