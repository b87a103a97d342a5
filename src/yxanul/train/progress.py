"""Training progress, as an immutable value stored in checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from yxanul.checkpoint.keep import Best
from yxanul.data.mix import MixCursor
from yxanul.monitor.loss_history import LossHistory

EARLIER_NAMES = {"bad_steps": "consecutive_skips", "recent": "loss_history"}


@dataclass(frozen=True)
class Progress:
    """Position in the run, the stage and every data stream."""

    stage: str
    stage_step: int
    """Steps done in this stage, skipped updates included."""
    step: int
    """Steps done in all stages, skipped updates included; they number metrics and checkpoints."""
    tokens_seen: int
    """Target tokens trained on in all stages."""
    cursor: MixCursor
    consecutive_skips: int = 0
    """Consecutive skipped updates (non-finite or spikes)."""
    best: Best | None = None
    skipped_steps: int = 0
    """Skipped updates in all stages."""
    loss_history: LossHistory = field(default_factory=LossHistory)
    """Window for the detection of spikes; empty unless they are skipped."""

    def after_step(
        self,
        tokens: int,
        cursor: MixCursor,
        applied: bool,
        excused: bool = False,
        loss_history: LossHistory | None = None,
    ) -> Progress:
        """Return the progress after one more step of `tokens` target tokens; a skip that is excused
        does not count towards `consecutive_skips`."""
        return replace(
            self,
            stage_step=self.stage_step + 1,
            step=self.step + 1,
            tokens_seen=self.tokens_seen + tokens,
            cursor=cursor,
            consecutive_skips=0 if applied else self.consecutive_skips + (not excused),
            skipped_steps=self.skipped_steps + (not applied),
            loss_history=loss_history or self.loss_history,
        )

    def in_stage(self, stage: str) -> Progress:
        """Return the progress at the start of the next stage; the data streams continue."""
        return replace(
            self,
            stage=stage,
            stage_step=0,
            consecutive_skips=0,
            best=None,
            loss_history=LossHistory(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"cursor": self.cursor.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Progress:
        """Read what `to_dict` returned, also under the names of earlier checkpoints."""
        plain = {EARLIER_NAMES.get(name, name): value for name, value in plain.items()}
        best = plain["best"]
        values = {
            "cursor": MixCursor.from_dict(plain["cursor"]),
            "best": Best(**best) if best else None,
            "loss_history": LossHistory.from_dict(plain["loss_history"]),
        }
        return cls(**plain | values)
