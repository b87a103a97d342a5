"""Terminal output: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from yxanul.base.figures import finite
from yxanul.base.ui import LineUi, ProgressTask, Ui
from yxanul.cli import signals

SECONDS_BETWEEN_LINES = 10.0
_json_stream: TextIO | None = None


@contextlib.contextmanager
def only_json_on_stdout() -> Iterator[None]:
    """Redirect prints of libraries to stderr: stdout has only the JSON object of --json."""
    global _json_stream
    _json_stream = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _json_stream = None


def print_text(text: str) -> None:
    """Print a human-readable result."""
    sys.stdout.write(text + "\n")


def print_json(value: dict[str, Any]) -> None:
    """Print the JSON object of --json; non-finite numbers become null."""
    signals.json_is_out, stream = True, _json_stream or sys.stdout
    stream.write(json.dumps(finite(value), ensure_ascii=False) + "\n")
    stream.flush()


def print_result(facts: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result: with --json its facts, else its text."""
    print_json(facts) if as_json else print_text(text)


def make_ui() -> Ui:
    """Return progress bars for a terminal, plain lines for a log."""
    return TerminalUi() if sys.stderr.isatty() else log_ui()


def log_ui() -> LineUi:
    """Return a user interface that writes plain lines to stderr."""

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    return LineUi(say, lambda line: say(f"warning: {line}"), SECONDS_BETWEEN_LINES)


class TerminalUi:
    """Progress bars on stderr with rate and time left, drawn by rich."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        """Write the line above the bar."""
        self.console.print(line, markup=False)

    def warn(self, line: str) -> None:
        """Write the line above the bar, in yellow."""
        self.console.print(f"warning: {line}", style="yellow", markup=False)

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str, done: int = 0) -> Iterator[ProgressTask]:
        """Show a progress bar while the block runs."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),  # leaves room for the note
            TextColumn("{task.percentage:>3.0f}% {task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )
        with progress:
            known = total if math.isfinite(total) else None
            task_id = progress.add_task(title, total=known, completed=done, rate="", note="")
            yield _Bar(progress, task_id, unit)


class _Bar:
    def __init__(self, progress: Any, task_id: Any, unit: str):
        self.progress, self.task_id, self.unit = progress, task_id, unit
        self.done, self.start = 0.0, time.monotonic()

    def advance(self, amount: float, note: str = "") -> None:
        self.done += amount
        speed = self.done / max(time.monotonic() - self.start, 1e-9)
        self.progress.update(
            self.task_id, advance=amount, note=note, rate=f"{speed:,.0f} {self.unit}/s"
        )

    def expect(self, total: float) -> None:
        if math.isfinite(total):
            self.progress.update(self.task_id, total=total)
