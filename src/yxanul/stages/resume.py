"""Starting or resuming a run: its folder, recipe and text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from yxanul.base.clock import Startup
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock, remove_leftovers, write_text
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.recipe import Recipe, dump_recipe, load_recipe
from yxanul.recipe.source_map import read
from yxanul.report.files import flattened
from yxanul.stages.config import StageOptim
from yxanul.stages.data import (
    Preparation,
    check_tokenizer,
    load_tokenizer,
    prepare,
    tell,
    text_tokens,
)
from yxanul.stages.ledger import LOST, Entry, Ledger
from yxanul.stages.plan import check_end, counted_plan
from yxanul.train.parallel.world import joined_world

if TYPE_CHECKING:
    from yxanul.stages.session import Session

FIXED = (
    "seed",
    "tokenizer.",
    "data.sources.",
    "data.validation_fraction",
    "data.filters",
    "data.deduplicate",
    "data.decontaminate",
    "data.shuffle_tokens",
    "model.",
    # Gates compare scores with those of earlier stages.
    "eval.seq_len",
    "eval.stride",
)
"""Keys whose change would invalidate files on disk."""
_RESOLVED = {"seed", "optim", "train", "monitor", "eval"}
"""Sections of every resolved recipe; one written by hand leaves some of them to its parent."""


def reconcile_recipe(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Write the resolved recipe into the run folder, after comparing it with an existing one.

    Once a stage has begun, changes to the data, the tokenizer or the model are rejected; others are
    reported and applied.
    """
    entries = Ledger.open(run.ledger).entries
    if run.has_begun and not entries:
        raise YxanulError(
            f"{run.ledger} is missing, and without it all stages would be trained again",
            hint=f"{LOST}; to start over, delete {run.checkpoints}",
        )
    if run.recipe.exists():
        previous = _recipe_of(run)
        changes = differences(previous, recipe)
        changes.pop("description", None)
        passed = _passed_stages(previous, entries)
        is_complete = len(entries) == len(recipe.stages) and all(
            e.status == "passed" for e in entries
        )
        in_use = ("optim.name",) if entries and not is_complete else ()
        # Shards do not depend on max_epochs, but the mixes of finished stages do.
        free = () if any(key.endswith(".mix") for key in passed) else (".max_epochs",)
        free = (".on_bad_file", *free)
        fixed = {
            key: change
            for key, change in changes.items()
            if key.startswith(FIXED + passed + in_use) and not key.endswith(free)
        }
        if fixed and not entries:
            _discard_tokenizer(run, fixed, ui)
        elif fixed:
            raise YxanulError(
                f"{run.path} was started with another recipe",
                got=_listed(fixed),
                hint="finished stages, text, tokenizer, model and windows of scores cannot change;"
                " choose another folder with --out, or add a stage to train longer",
            )
        if is_complete:
            if changes:
                ui.warn(f"run is complete; ignoring recipe changes: {_listed(changes)}")
            return
        step = max(checkpoint_steps(run.checkpoints), default=0)
        _check_budgets(recipe, entries, step)
        for key, change in changes.items():
            effect = effect_of(key, recipe, entries, step)
            ui.warn(f"the recipe has changed since the run started: {key}: {change}; {effect}")
        if not changes:
            return
    _write_recipe(run, recipe)


def _check_budgets(recipe: Recipe, entries: Sequence[Entry], step: int) -> None:
    """Raise if a stage is past the end of its budget, if that is known before the text is."""
    begun = {entry.name: entry for entry in entries if entry.status != "passed"}
    for stage in recipe.stages:
        entry, plan = begun.get(stage.name), counted_plan(recipe, stage)
        if entry is not None and entry.at_start and plan is not None and not entry.actions:
            check_end(plan, stage, step - entry.first_step)


def _write_recipe(run: RunFolder, recipe: Recipe) -> None:
    """Write the resolved recipe into the run folder; raise if that has one written by hand."""
    if run.recipe.exists():
        there = read(run.recipe).value
        if not (isinstance(there, dict) and there.keys() >= _RESOLVED):
            raise YxanulError(
                f"{run.recipe} would be overwritten",
                got="a recipe that yxanul has not written",
                hint="choose another folder with --out",
            )
    write_text(run.recipe, dump_recipe(recipe))


def differences(old: Recipe, new: Recipe) -> dict[str, str]:
    """Return {dotted key: "old -> new"} for every value that differs between two recipes."""
    before, after = (flattened(one.model_dump(mode="json")) for one in (old, new))
    keys = sorted(before.keys() | after.keys())
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return {key: f"{a} -> {b}" for key, (a, b) in pairs.items() if a != b}


def effect_of(key: str, recipe: Recipe, entries: Sequence[Entry], step: int) -> str:
    """Describe from which step on and for which stages a change applies."""
    if not entries:
        return "applies from the start: nothing is trained yet"
    section, number, *rest = [*key.split("."), ""]
    if section == "optim" and number in StageOptim.model_fields:
        return (
            f"applies from step {step + 1:,}, but not to stages with an optim.{number} of their own"
        )
    if section != "stages":
        return f"applies from step {step + 1:,}"
    if int(number) >= len(recipe.stages):
        return "the stage, which has not begun, is no longer there"
    name, begun = recipe.stages[int(number)].name, {entry.name: entry for entry in entries}
    if name not in begun:
        return f"applies to all of stage '{name}', which has not begun"
    if begun[name].status == "passed":
        return f"no effect: stage '{name}' is finished"
    if rest[0] == "gate":
        return f"applies to the gate of stage '{name}'"
    if rest[0] == "budget":
        return (
            f"stage '{name}' resumes at step {step:,} of the run and trains to its new end; its"
            " learning-rate schedule is recomputed for the new length"
        )
    return f"applies to the rest of stage '{name}', from step {step + 1:,} of the run"


def _listed(changes: Mapping[str, str]) -> str:
    """Return the first few changes and the number of the others."""
    shown = [f"{key}: {change}" for key, change in islice(changes.items(), 3)]
    more = len(changes) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def _discard_tokenizer(run: RunFolder, changes: Collection[str], ui: Ui) -> None:
    """Delete the tokenizer of an untrained run if its text or settings changed, so that it is
    rebuilt. If the result is the same tokenizer, shards of unchanged sources stay valid."""
    if any(key.startswith(("tokenizer.", "data.", "seed")) for key in changes):
        run.tokenizer.unlink(missing_ok=True)
        ui.warn("rebuilding the tokenizer: the recipe's text or tokenizer has changed")


def _recipe_of(run: RunFolder) -> Recipe:
    try:
        return load_recipe(str(run.recipe))
    except YxanulError as error:
        raise YxanulError(
            f"{run.path} was created by another version of yxanul, or its recipe is damaged",
            got="; ".join(str(error).splitlines()),
            hint="choose another folder with --out",
        ) from None


def _passed_stages(recipe: Recipe, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the keys of begun and finished stages that must not change; gates are not among
    them."""
    status = {entry.name: entry.status for entry in entries}
    keys: list[str] = []
    for index, stage in enumerate(recipe.stages):
        if stage.name in status:
            keys.append(f"stages.{index}.name")
        if status.get(stage.name) == "passed":
            keys += [f"stages.{index}.{name}" for name in ("mix", "budget", "curriculum", "optim")]
    return tuple(keys)


@contextmanager
def open_run(
    recipe: Recipe,
    run: RunFolder,
    ui: Ui,
    startup: Startup,
    *,
    with_preset: Callable[[str], Recipe] | None = None,
    with_prepare: bool = False,
    stop_after: int | None = None,
) -> Iterator[Session]:
    """Context manager: the session of a run, with its folder locked and signals handled.

    `with_preset` returns the recipe with a given preset, for `preset: auto`. After step
    `stop_after` the run saves and stops, as on a signal.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest(stop_after).handled())
        world = stack.enter_context(joined_world(recipe.train.device, stop))
        startup.lap("world")
        preparation = None
        if world.is_main:
            if not (with_prepare or run.recipe.exists()):
                check_tokenizer(run)  # before the folder is made
            stack.enter_context(folder_lock(run.path))
            remove_leftovers(run.samples)
            reconcile_recipe(run, recipe, ui)
            if with_prepare and world.size == 1:
                preparation = stack.enter_context(Preparation(run, recipe, ui, stop))
            elif with_prepare:  # all ranks read the same shards
                tell(prepare(run, recipe, ui), ui)
        world.wait_for_main()
        startup.lap("tokenizer")

        # Imported late: loading torch takes a second, during which worker processes already encode.
        with stop.importing():
            from yxanul.stages.measure import decide_preset
            from yxanul.stages.session import build_session

        startup.lap("imports")
        if preparation is not None and not preparation.wait_for_start():
            preparation = None  # all text is encoded
        startup.lap("data")
        if with_preset is not None and recipe.model.preset == "auto" and world.is_main:
            text = load_tokenizer(run, recipe).vocab_size, text_tokens(run, recipe, ui)
            recipe = decide_preset(Ledger.open(run.ledger), with_preset, *text, world.size, ui)
            _write_recipe(run, recipe)
        recipe = world.broadcast(recipe)
        session = build_session(run, recipe, ui, stop, preparation, world, startup)
        stack.callback(session.close)
        yield session
