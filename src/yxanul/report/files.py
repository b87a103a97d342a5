"""Files of a run, read so that a missing or damaged one only leaves a gap in the report.

The metrics are read as columns, and can be followed while they grow.
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json

Floats = np.ndarray[Any, np.dtype[np.float64]]
STEP_TIME, TOKENS_SEEN = "perf/total_step_time", "data/tokens_seen"


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is none that can be read."""
    try:
        content = read_json(path)
    except YxanulError:
        return {}
    return content if isinstance(content, dict) else {}


def read_recipe(path: Path) -> tuple[dict[str, Any], str]:
    """Return a resolved recipe and its text; empty if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}, ""
    return (content, text) if isinstance(content, dict) else ({}, text)


def flattened(tree: object, path: str = "") -> dict[str, Any]:
    """Return a tree's leaves by dotted path, as overrides on the command line name them."""
    if isinstance(tree, Mapping) and tree:
        items = tree.items()
    elif isinstance(tree, list) and tree and isinstance(tree[0], Mapping | list):
        items = enumerate(tree)
    else:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= flattened(value, f"{path}.{key}" if path else str(key))
    return leaves


class MetricsFile:
    """Every number in `metrics.jsonl` by metric, as far as the file has been read.

    An incomplete last line waits for its end; invalid lines are skipped. If the file was replaced
    or became shorter, as when a run is resumed, it is read again from its beginning.
    """

    def __init__(self, path: Path):
        self.path = path
        self._identity: int | None = None
        self._clear()

    def _clear(self) -> None:
        self.offset = 0
        """Bytes read so far."""
        self._columns: dict[str, tuple[array[int], array[float]]] = {}
        self.notes: list[tuple[int, str, Any]] = []
        """Values that are no numbers, such as samples and alerts: (step, name, value)."""

    def update(self) -> bool:
        """Read what was appended; return whether there was anything."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._identity or status.st_size < self.offset:
                    self._clear()
                    self._identity = status.st_ino
                before = self.offset
                file.seek(before)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self.offset += len(line)
                    self._add(line)
        except FileNotFoundError:
            return False
        return self.offset != before

    def _add(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            step = int(record["step"])
        except (KeyError, TypeError, ValueError):
            return
        for name, value in record.items():
            if name == "step":
                continue
            if value is None or isinstance(value, int | float):
                steps, values = self._columns.setdefault(name, (array("q"), array("d")))
                steps.append(step)
                values.append(math.nan if value is None else value)
            else:
                self.notes.append((step, name, value))

    @property
    def names(self) -> list[str]:
        """Names of all metrics, in the order of their first appearance."""
        return list(self._columns)

    def series(self, name: str) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Floats]:
        """Return the steps and values of a metric; of a step written twice, the later value."""
        if name not in self._columns:
            return np.zeros(0, np.int64), np.zeros(0)
        columns = self._columns[name]
        # Copies: an array that numpy looks into cannot grow.
        steps, values = np.array(columns[0], np.int64), np.array(columns[1], np.float64)
        later = np.minimum.accumulate(steps[::-1])[::-1]
        is_last = np.append(steps[:-1] < later[1:], True) if len(steps) else np.zeros(0, bool)
        return steps[is_last], values[is_last]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that the run recorded, each with its step."""
        return [
            {"step": step, **value}
            for step, name, value in self.notes
            if name == "alert" and isinstance(value, dict)
        ]

    def clock(self) -> Clock:
        """Return how steps, tokens and seconds of training correspond."""
        steps, tokens = self.series(TOKENS_SEEN)
        timed, seconds = self.series(STEP_TIME)
        total = np.nancumsum(seconds)
        at = np.searchsorted(timed, steps, side="right")
        return Clock(steps, tokens, np.append(0.0, total)[at])


class Clock:
    """Tokens seen and seconds spent in training after each step."""

    def __init__(self, steps: np.ndarray[Any, Any], tokens: Floats, seconds: Floats):
        self.steps, self.tokens, self.seconds = steps, tokens, seconds

    def at(self, at_steps: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, list[float]]:
        """Return the step, tokens and seconds at some steps."""
        steps = np.asarray(at_steps, np.int64)
        known = np.append(0, self.steps)
        tokens = np.interp(steps, known, np.append(0.0, self.tokens))
        seconds = np.interp(steps, known, np.append(0.0, self.seconds))
        return {
            "step": steps.tolist(),
            "tokens": np.rint(tokens).astype(int).tolist(),
            "seconds": [round(value, 2) for value in seconds.tolist()],
        }

    def places(self, at_steps: Sequence[int] | np.ndarray[Any, Any]) -> list[dict[str, float]]:
        """Return the same, a mapping for each of the steps."""
        columns = self.at(at_steps)
        return [dict(zip(columns, one, strict=True)) for one in zip(*columns.values(), strict=True)]

    @property
    def last(self) -> dict[str, float]:
        """Step, tokens and seconds so far."""
        return self.places([0, *self.steps[-1:]])[-1]
