"""metrics.jsonl: one JSON object a line, in the run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.base.run_folder import RunFolder


class JsonlTracker:
    """Appends `{"step": ..., name: value, ...}`; every line reaches the system at once.

    What is not finite is written as null, since JSON knows no NaN.
    """

    def __init__(self, run: RunFolder):
        """Take up the file; a last line that a killed process tore is dropped."""
        self._path = run.metrics
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(self._path)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of `step` as one line."""
        self._append({"step": step} | {name: _plain(value) for name, value in metrics.items()})

    def text(self, step: int, name: str, text: str) -> None:
        """Append the text as a line of its own."""
        self._append({"step": step, name: text})

    def rewind(self, step: int) -> None:
        """Drop every line of a later step and every broken one; the file is replaced whole."""
        if not self._path.exists():
            return
        with atomic_file(self._path) as file, open(self._path, "rb") as lines:
            file.writelines(_lines_until(step, lines))

    def close(self) -> None:
        """Do nothing: the file is open only while a line is written."""

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with open(self._path, "ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise YxanulError(f"{self._path} cannot be written", got=error) from error


def _plain(value: float) -> float | None:
    """Return a number of Python's own, whatever library it came from; None if not finite."""
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _lines_until(step: int, lines: IO[bytes]) -> Iterator[bytes]:
    for line in lines:
        try:
            is_kept = line.endswith(b"\n") and json.loads(line).get("step", 0) <= step
        except (AttributeError, TypeError, ValueError):  # no JSON, no object, no number
            continue
        if is_kept:
            yield line


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+") as file:
        whole = 0
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)
