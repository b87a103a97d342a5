"""When to save checkpoints, and which of them to keep: the newest, the best, at least one."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, remove_leftovers, write_json
from yxanul.checkpoint.config import CheckpointSettings
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import looks_whole

BEST = "best"
BEST_VERSION = 1


@dataclass(frozen=True)
class BestCheckpoint:
    """The best step so far, and its metric."""

    step: int
    metric: str
    """Name of the metric, such as val/perplexity."""
    value: float


class Cadence:
    """Decides whether a checkpoint is due: call `due` after every step, `saved` after every save.

    Elapsed time is the sum of the clock's forward movements since the last save, so a clock that
    is set back neither hastens nor prevents a checkpoint. The wall clock is never used.
    """

    def __init__(
        self, settings: CheckpointSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._seen = clock()
        self._seconds = 0.0

    def due(self, step: int, stage_step: int, *, phase_end: bool = False) -> bool:
        """Return whether a checkpoint is due after `step` steps of the run, `stage_step` of the
        stage."""
        self._update_elapsed()
        settings = self.settings
        return bool(
            (phase_end and settings.phase_ends)
            or (settings.keep_every_steps and step % settings.keep_every_steps == 0)
            or (settings.every_steps and stage_step % settings.every_steps == 0)
            or (settings.every_minutes and self._seconds >= settings.every_minutes * 60)
        )

    def saved(self) -> None:
        """Restart the timer."""
        self._update_elapsed()
        self._seconds = 0.0

    def _update_elapsed(self) -> None:
        now = self._clock()
        self._seconds += max(now - self._seen, 0.0)
        self._seen = now


def steps_to_delete(
    whole: Collection[int], keep: int, best: int | None, keep_every: int | None = None
) -> list[int]:
    """Return the steps to delete: all but the newest `keep` (at least one), the best, and the
    multiples of `keep_every`."""
    newest = sorted(whole)[-max(keep, 1) :]
    for_good = {step for step in whole if keep_every and step % keep_every == 0}
    return sorted(set(whole) - set(newest) - for_good - {best})


def rotate(
    folder: Path,
    *,
    keep: int,
    best: int | None,
    keep_every: int | None = None,
    also: Collection[int] = (),
) -> list[Path]:
    """Delete the checkpoints of `folder` that need not be kept, as those of `also` are; return
    their paths.

    One with missing or truncated files does not count, and is deleted once a complete one is newer.
    Each is renamed before it is deleted, so that none is ever found half deleted.
    """
    remove_leftovers(folder)
    steps = checkpoint_steps(folder)
    whole = [step for step in steps if looks_whole(checkpoint_path(folder, step))]
    if not whole:
        return []
    broken = [step for step in steps if step not in whole and step < max(whole)]
    paths = [
        checkpoint_path(folder, step)
        for step in sorted(steps_to_delete(whole, keep, best, keep_every) + broken)
        if step not in also
    ]
    for path in paths:
        _delete(path)
    return paths


def write_best(run: Path, step: int, metric: str, value: float) -> None:
    """Record the best step in the run folder."""
    if not math.isfinite(value):
        raise ValueError(f"{metric} is {value}, which cannot be the best")
    best = {"schema_version": BEST_VERSION} | asdict(BestCheckpoint(step, metric, value))
    write_json(run / BEST, best)


def read_best(run: Path) -> BestCheckpoint | None:
    """Return the best step of a run, or None if none is recorded."""
    if not (run / BEST).exists():
        return None
    hint = "delete it to use the newest checkpoint as the best"
    plain = read_json(run / BEST, hint)
    try:
        if plain.get("schema_version", BEST_VERSION) != BEST_VERSION:
            raise ValueError(f"schema version {plain['schema_version']} instead of {BEST_VERSION}")
        return BestCheckpoint(int(plain["step"]), str(plain["metric"]), float(plain["value"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise YxanulError(f"{run / BEST} is broken", got=error, hint=hint) from None


def _delete(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.deleted.partial")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
