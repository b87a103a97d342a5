"""When a checkpoint is due: a matter of steps, of events, and of time that only goes forwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from yxanul.checkpoint.config import CheckpointSettings


@dataclass(frozen=True)
class Moment:
    """What the cadence looks at after a step."""

    step: int
    """Updates done in all stages."""
    stage_step: int
    """Updates done in this stage."""
    phase_end: bool = False
    """This was the last step of a phase."""
    stage_end: bool = False
    """This was the last step of the stage."""
    is_best: bool = False
    """An evaluation after this step was the best so far."""


class Cadence:
    """Says whether a checkpoint is due; ask after every step, and tell it of every save.

    Time is what the clock has moved forwards since the last save. A clock that is set back (the
    wall's never counts at all) brings no checkpoint early and keeps none away.
    """

    def __init__(
        self, settings: CheckpointSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._seen = clock()
        self._seconds = 0.0

    def due(self, moment: Moment) -> str | None:
        """Return why a checkpoint is due now, in a few words, or None when it is not."""
        self._look()
        settings = self.settings
        if moment.stage_end:
            return "the end of the stage"
        if moment.is_best:
            return "the best so far"
        if moment.phase_end and settings.phase_ends:
            return "the end of a phase"
        if settings.keep_every_steps and moment.step % settings.keep_every_steps == 0:
            return f"every {settings.keep_every_steps} steps, for good"
        if settings.every_steps and moment.stage_step % settings.every_steps == 0:
            return f"every {settings.every_steps} steps"
        if settings.every_minutes and self._seconds >= settings.every_minutes * 60:
            return f"every {settings.every_minutes:g} minutes"
        return None

    def saved(self) -> None:
        """Count the minutes from now on."""
        self._look()
        self._seconds = 0.0

    def _look(self) -> None:
        now = self._clock()
        self._seconds += max(now - self._seen, 0.0)
        self._seen = now
