"""metrics.jsonl in the run folder: one JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.tracker import Histogram


class JsonlTracker:
    """Appends `{"step": ..., name: value, ...}`; every line is written to the OS at once.

    Non-finite values are written as null, since JSON has no NaN.
    """

    def __init__(self, run: RunFolder):
        """Open the file, dropping an incomplete last line left by a killed process."""
        self._path = run.metrics
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(self._path)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of `step` as one line."""
        self._append({"step": step} | {name: _plain(value) for name, value in metrics.items()})

    def text(self, step: int, name: str, text: str) -> None:
        """Append the text as a separate line."""
        self._append({"step": step, name: text})

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """No-op: histograms are for trackers that draw them."""

    def alert(self, alert: Alert) -> None:
        """Append `{"step": ..., "alert": {"name": ..., "severity": ..., "seen": ..., ...}}`."""
        fields = alert.to_dict()
        self._append({"step": fields.pop("step"), "alert": fields})

    def rewind(self, step: int) -> None:
        """Drop the lines of later steps and invalid lines; the file is replaced atomically."""
        if not self._path.exists():
            return
        with atomic_file(self._path) as file, open(self._path, "rb") as lines:
            file.writelines(_lines_until(step, lines))

    def close(self) -> None:
        """No-op: the file is open only while a line is written."""

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with open(self._path, "ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise YxanulError(f"cannot write {self._path}", got=error) from error


def read_metrics(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the step and the numbers of each line of a metrics.jsonl, null as NaN; lines that are
    torn, or hold a text or an alert, are left out."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
                step = record.pop("step")
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
            metrics = {n: math.nan if v is None else v for n, v in record.items()}
            if metrics and all(isinstance(value, float | int) for value in metrics.values()):
                yield step, metrics


def _plain(value: float) -> float | None:
    """Return a number as Python int or float; None if not finite."""
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _lines_until(step: int, lines: IO[bytes]) -> Iterator[bytes]:
    for line in lines:
        try:
            is_kept = line.endswith(b"\n") and json.loads(line).get("step", 0) <= step
        except (AttributeError, TypeError, ValueError):  # not JSON, not an object, not a number
            continue
        if is_kept:
            yield line


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+") as file:
        complete = 0
        for line in file:
            complete += len(line) if line.endswith(b"\n") else 0
        file.truncate(complete)
