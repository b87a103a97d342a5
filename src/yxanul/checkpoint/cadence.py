"""When to save a checkpoint: by steps, by events, and by elapsed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from yxanul.checkpoint.config import CheckpointSettings


@dataclass(frozen=True)
class Moment:
    """State of a run after a step, from which the cadence decides."""

    step: int
    """Optimizer steps done in all stages."""
    stage_step: int
    """Optimizer steps done in this stage."""
    phase_end: bool = False
    """Whether this was the last step of a phase."""
    stage_end: bool = False
    """Whether this was the last step of the stage."""
    is_best: bool = False
    """Whether the evaluation after this step was the best so far."""


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

    def due(self, moment: Moment) -> str | None:
        """Return a short reason why a checkpoint is due, or None."""
        self._update_elapsed()
        settings = self.settings
        if moment.stage_end:
            return "end of stage"
        if moment.is_best:
            return "best so far"
        if moment.phase_end and settings.phase_ends:
            return "end of phase"
        if settings.keep_every_steps and moment.step % settings.keep_every_steps == 0:
            return f"every {settings.keep_every_steps} steps, kept permanently"
        if settings.every_steps and moment.stage_step % settings.every_steps == 0:
            return f"every {settings.every_steps} steps"
        if settings.every_minutes and self._seconds >= settings.every_minutes * 60:
            return f"every {settings.every_minutes:g} minutes"
        return None

    def saved(self) -> None:
        """Restart the timer."""
        self._update_elapsed()
        self._seconds = 0.0

    def _update_elapsed(self) -> None:
        now = self._clock()
        self._seconds += max(now - self._seen, 0.0)
        self._seen = now
