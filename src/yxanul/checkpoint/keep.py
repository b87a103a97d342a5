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
class Best:
    """Best value of a metric in the current stage, and its step."""

    step: int
    value: float
    metric: str = "val/bits_per_byte"


class Cadence:
    """Decides whether a checkpoint is due: call `due` after a step, `saved` after a save."""

    def __init__(
        self, settings: CheckpointSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._last = clock()

    def due(self, step: int, stage_step: int, *, phase_end: bool = False) -> bool:
        """Return whether a checkpoint is due after `step` steps of the run, `stage_step` of the
        stage."""
        settings, seconds = self.settings, self._clock() - self._last
        return bool(
            (phase_end and settings.phase_ends)
            or (settings.keep_every_steps and step % settings.keep_every_steps == 0)
            or (settings.every_steps and stage_step % settings.every_steps == 0)
            or (settings.every_minutes and seconds >= settings.every_minutes * 60)
        )

    def saved(self) -> None:
        """Restart the timer."""
        self._last = self._clock()


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
    damaged = [step for step in steps if step not in whole and step < max(whole)]
    paths = [
        checkpoint_path(folder, step)
        for step in sorted(steps_to_delete(whole, keep, best, keep_every) + damaged)
        if step not in also
    ]
    for path in paths:
        _delete(path)
    return paths


def write_best(run: Path, step: int, metric: str, value: float) -> None:
    """Record the best step in the run folder."""
    if not math.isfinite(value):
        raise ValueError(f"{metric} is {value}, which cannot be the best")
    best = {"schema_version": BEST_VERSION} | asdict(Best(step, value, metric))
    write_json(run / BEST, best)


def read_best(run: Path) -> Best | None:
    """Return the best step of a run, or None if none is recorded."""
    if not (run / BEST).exists():
        return None
    hint = "delete it to use the newest checkpoint as the best"
    plain = read_json(run / BEST, hint)
    try:
        if plain.get("schema_version", BEST_VERSION) != BEST_VERSION:
            raise ValueError(f"schema version {plain['schema_version']} instead of {BEST_VERSION}")
        return Best(int(plain["step"]), float(plain["value"]), str(plain["metric"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise YxanulError(f"{run / BEST} is damaged", got=error, hint=hint) from None


def _delete(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.deleted.partial")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
