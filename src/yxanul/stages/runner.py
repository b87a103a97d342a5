"""A run from text to outcome, in this process; with others it is one of several."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from yxanul.base.files import folder_lock, write_text
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import Ui
from yxanul.recipe import Recipe, dump_recipe
from yxanul.stages.corpus import prepare
from yxanul.stages.preparation import begin, tell
from yxanul.stages.resume import settle_recipe
from yxanul.train.parallel.world import joined_world

if TYPE_CHECKING:
    from yxanul.stages.outcome import Outcome


def run_recipe(
    recipe: Recipe,
    run: RunFolder,
    ui: Ui,
    startup: Startup,
    *,
    with_preset: Callable[[str], Recipe] | None = None,
    with_prepare: bool = False,
    stop_after: int | None = None,
) -> Outcome | None:
    """Train all stages; return what came out, in the first process.

    `with_preset` gives the recipe anew where its preset is auto. After step `stop_after` it saves
    and stops, as a signal would make it. A failed gate is raised with the facts of the run.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest().handled())
        world = stack.enter_context(joined_world(recipe.train.device))
        startup.lap("world")
        preparation = None
        if world.is_first:
            stack.enter_context(folder_lock(run.path))
            settle_recipe(run, recipe, ui)
            if with_prepare and world.size == 1:
                preparation = stack.enter_context(begin(run, recipe, ui, stop))
            elif with_prepare:  # all processes read the same shards
                tell(prepare(run, recipe, ui), ui)
        world.wait_for_first()
        startup.lap("tokenizer")

        # Only now: torch takes a second to load, in which others encode the first text.
        from yxanul.stages.measure import decide_preset
        from yxanul.stages.opening import open_session
        from yxanul.stages.outcome import conclude
        from yxanul.stages.program import run_program

        startup.lap("imports")
        if preparation is not None and not preparation.wait_for_start():
            preparation = None  # all text is encoded
        startup.lap("data")
        if with_preset is not None and recipe.model.preset == "auto" and world.is_first:
            recipe = decide_preset(with_preset, ui)
            write_text(run.recipe, dump_recipe(recipe))
        session = open_session(run, world.from_first(recipe), ui, stop, preparation, world)
        stack.callback(session.close)
        session.startup, session.stop_after = startup, stop_after
        run_program(session)
        session.wait_for_all_text()
        outcome = conclude(session)
    return outcome if world.is_first else None
