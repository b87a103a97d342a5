"""An early end of a wsd schedule: come down now, as a shorter budget would have done.

The request is a file in the run folder, so that it reaches a process that is training, or the next
one. What came of it stands in the ledger.
"""

from __future__ import annotations

from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.ledger import Entry, Ledger
from yxanul.stages.session import Session
from yxanul.train.curriculum import cooled_plan, is_warming_up
from yxanul.train.trainer import Callback, Changes, StepReport, Trainer


def ask(run: RunFolder, recipe: Recipe) -> None:
    """Leave the request; refuse it where the stage that is at work does not come down late."""
    stage = stage_at_work(run, recipe)
    name = stage_optim(recipe.optim, stage).schedule.name
    if name != "wsd":
        raise YxanulError(
            f"stage '{stage.name}' cannot cool down early",
            found=f"the schedule {name}",
            wanted="wsd, which stays at its peak until it comes down",
            hint="other schedules are bound to their length",
        )
    write_text(request_of(run), f"{stage.name}\n")


def stage_at_work(run: RunFolder, recipe: Recipe) -> StageSettings:
    """Return the first stage that has not passed its gate; it must have begun."""
    entries = {entry.name: entry for entry in Ledger.open(run.ledger).entries}
    for stage in recipe.stages:
        if stage.name not in entries:
            raise YxanulError(f"stage '{stage.name}' of {run.path} has not begun yet")
        if entries[stage.name].status != "passed":
            return stage
    raise YxanulError(f"{run.path} has ended: every stage has passed its gate")


def request_of(run: RunFolder) -> Path:
    """Return the file that asks for it: it names the stage."""
    return run.path / "cooldown-now"


class Cooldown(Callback):
    """Takes up a request: cuts the plan, and writes down how long the stage is now."""

    def __init__(self, session: Session, entry: Entry):
        self._session, self._entry = session, entry

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Look for a request; return the shorter plan."""
        session, entry = self._session, self._entry
        request = request_of(session.run)
        if not session.world.any(session.world.is_first and request.exists()):
            return None
        is_meant = session.world.from_first(_stage_of(request) == entry.name)
        done, total = report.progress.stage_step, trainer.plan.total_steps
        if is_meant and is_warming_up(trainer.plan, trainer.optim, done):
            return None  # it comes down once it is up
        cut = None
        if is_meant and entry.cooldown_steps != total and done < total:
            cut = cooled_plan(trainer.plan, trainer.optim, done)
            entry.cooldown_of, entry.cooldown_steps = total, cut.total_steps
            entry.steps, entry.tokens = cut.total_steps, cut.total_tokens
            session.ledger.write()
            left = cut.total_steps - done
            session.ui.say(f"stage '{entry.name}' comes down from here on: {left:,} steps are left")
            before, after = ({phase.index for phase in one.phases} for one in (trainer.plan, cut))
            if lost := sorted(before - after):
                session.ui.warn(f"what it does not come to: phase {', '.join(map(str, lost))}")
        if session.world.is_first:
            request.unlink(missing_ok=True)
        return Changes(cut)


def _stage_of(request: Path) -> str | None:
    """Return the stage that is asked to end; it may be over by now."""
    return request.read_text().strip() if request.exists() else None
