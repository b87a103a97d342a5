"""A whole run in this process: text, stages, outcome. With others it is one of several."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from yxanul.base.files import folder_lock
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import Ui
from yxanul.recipe import Recipe
from yxanul.stages.opening import open_session
from yxanul.stages.outcome import Outcome, conclude
from yxanul.stages.preparation import Preparation, begin
from yxanul.stages.program import run_program
from yxanul.stages.resume import settle_recipe
from yxanul.stages.session import Session
from yxanul.train.parallel.world import World, joined_world


@dataclass
class Whole:
    """What `run` and `train` do once their arguments are known."""

    recipe: Recipe
    run: RunFolder
    startup: Startup
    with_prepare: bool
    stop_after: int | None = None
    """Save and stop after this step, as a signal would."""
    session: Session | None = None
    """Once it is open: what a failed gate leaves to look at."""

    def carry_out(self, ui: Ui) -> Outcome | None:
        """Train all stages; return what came out, in the first process."""
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest().handled())
            world = stack.enter_context(joined_world(self.recipe.train.device))
            if world.is_first:
                stack.enter_context(folder_lock(self.run.path))
            self.startup.lap("world")
            preparation = self._prepared(stack, world, ui, stop)
            self.startup.lap("data")
            session = open_session(self.run, self.recipe, ui, stop, preparation, world)
            stack.callback(session.close)
            self.session, session.startup = session, self.startup
            session.stop_after = self.stop_after
            run_program(session)
            session.wait_for_all_text()
            outcome = conclude(session)
        return outcome if world.is_first else None

    def _prepared(
        self, stack: ExitStack, world: World, ui: Ui, stop: StopRequest
    ) -> Preparation | None:
        """Let the first process settle the recipe and encode the text while the others wait."""
        preparation = None
        if world.is_first:
            settle_recipe(self.run, self.recipe, ui)
            if self.with_prepare:
                early = world.size == 1  # several processes read the same shards
                preparation = stack.enter_context(begin(self.run, self.recipe, ui, stop, early))
        world.wait_for_first()
        return preparation
