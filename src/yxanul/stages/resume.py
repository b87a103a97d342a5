"""Beginning a run, or going on with one: its folder, its recipe, its text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock, write_text
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import Ui
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.recipe import Recipe, dump_recipe, load_recipe
from yxanul.stages.data import begin, prepare, tell
from yxanul.stages.ledger import LOST, Entry, Ledger
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
)
"""Keys whose change would make what is on disk wrong."""


def reconcile_recipe(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Write the resolved recipe into the run, or compare it with the one that is there.

    Once a stage has begun, a change of the data, the tokenizer or the model is refused; any other
    is named and taken.
    """
    entries = Ledger.open(run.ledger).entries
    if run.has_begun and not entries:
        raise YxanulError(
            f"{run.ledger} is lost, and without it the stages would be trained again",
            hint=f"{LOST}; to begin anew, delete {run.checkpoints}",
        )
    if run.recipe.exists():
        begun_with = _recipe_of(run)
        changes = differences(begun_with, recipe)
        changes.pop("description", None)
        passed = _passed_stages(begun_with, entries)
        ended = len(entries) == len(recipe.stages) and all(e.status == "passed" for e in entries)
        at_work = ("optim.name",) if entries and not ended else ()
        # No shard depends on the bounds of repeats, but the mixes of the stages do.
        free = () if any(key.endswith(".mix") for key in passed) else (".max_epochs",)
        free = (".on_bad_file", *free)
        fixed = {
            key: change
            for key, change in changes.items()
            if key.startswith(FIXED + passed + at_work) and not key.endswith(free)
        }
        if fixed and not entries:
            _prepare_anew(run, fixed, ui)
        elif fixed:
            raise YxanulError(
                f"{run.path} was begun with another recipe",
                got=_first_of(fixed),
                hint="a stage that is finished stays as it is, and so do text, tokenizer and model;"
                " choose another folder with --out, or, to train longer, add a stage",
            )
        if ended:
            if changes:
                ui.warn(f"every stage has passed its gate: without effect is {_first_of(changes)}")
            return
        step = max(checkpoint_steps(run.checkpoints), default=0)
        for key, change in changes.items():
            effect = effect_of(key, recipe, entries, step)
            ui.warn(f"the recipe has changed since this run began: {key}: {change}; {effect}")
        if not changes:
            return
    write_text(run.recipe, dump_recipe(recipe))


def differences(old: Recipe, new: Recipe) -> dict[str, str]:
    """Return {dotted key: "old -> new"} for every value in which two recipes differ."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = sorted(before.keys() | after.keys())
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    return {key: f"{a} -> {b}" for key, (a, b) in pairs.items() if a != b}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    flat: dict[str, Any] = {}
    for key, inner in items:
        name = f"{prefix}{key}"
        nested = isinstance(inner, dict | list) and inner
        flat |= _flat(inner, f"{name}.") if nested else {name: inner}
    return flat


def effect_of(key: str, recipe: Recipe, entries: Sequence[Entry], step: int) -> str:
    """Say from which step on a change holds, for which stages, and for which it does not."""
    if not entries:
        return "nothing is trained yet: it holds from the start"
    status = {entry.name: entry.status for entry in entries}
    section, _, rest = key.partition(".")
    if section == "stages":
        index, _, rest = rest.partition(".")
        return _effect_on_stage(recipe.stages[int(index)].name, rest, status, step)
    if section != "optim":
        return f"it holds from step {step + 1:,} on"
    name = rest.partition(".")[0]
    passed = [s.name for s in recipe.stages if status.get(s.name) == "passed"]
    left = [stage for stage in recipe.stages if stage.name not in passed]
    own = [stage.name for stage in left if getattr(stage.optim, name, None) is not None]
    touched = [stage.name for stage in left if stage.name not in own]
    parts = [f"it holds from step {step + 1:,} on for {_stages(touched)}"] if touched else []
    parts += [f"not for {_stages(own)}, with {name} of their own"] if own else []
    parts += [f"{_stages(passed)} stay as trained"] if passed else []
    return "; ".join(parts)


def _effect_on_stage(name: str, rest: str, status: Mapping[str, str], step: int) -> str:
    match status.get(name):
        case None:
            return f"stage '{name}' has not begun: it holds for all of it"
        case "passed":
            return f"stage '{name}' is finished and stays as it is"
    if rest.startswith("gate"):
        return f"the gate of stage '{name}' is judged by it"
    if rest.startswith("budget"):
        return (
            f"stage '{name}' goes on from step {step:,} of the run to its new end, and the schedule"
            " of its learning rate is that of the new length; what is trained stays as it is"
        )
    return f"it holds from step {step + 1:,} of the run on, in the rest of stage '{name}'"


def _stages(names: Sequence[str]) -> str:
    return f"{'stage' if len(names) == 1 else 'stages'} " + ", ".join(f"'{n}'" for n in names)


def _first_of(changes: Mapping[str, str]) -> str:
    """Return the first few changes, and how many there are beside them."""
    shown = [f"{key}: {change}" for key, change in islice(changes.items(), 3)]
    more = len(changes) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)


def _prepare_anew(run: RunFolder, changes: Collection[str], ui: Ui) -> None:
    """Nothing is trained yet: take the changes, and learn the tokenizer from what the text is now
    (one that is the same again leaves the shards of sources that did not change)."""
    if any(key.startswith(("tokenizer.", "data.", "seed")) for key in changes):
        run.tokenizer.unlink(missing_ok=True)
        ui.warn("the tokenizer is made again, as the recipe's text or tokenizer has changed")


def _recipe_of(run: RunFolder) -> Recipe:
    try:
        return load_recipe(str(run.recipe))
    except YxanulError as error:
        raise YxanulError(
            f"{run.path} was begun by another version of yxanul, or its recipe is damaged",
            got="; ".join(str(error).splitlines()),
            hint="choose another folder with --out",
        ) from None


def _passed_stages(recipe: Recipe, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the keys of stages that are behind the run; its gates may change without effect."""
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
    """Give the session of a run, its folder locked and signals handled while the block lasts.

    `with_preset` gives the recipe anew where its preset is auto. After step `stop_after` it saves
    and stops, as a signal would make it.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest(stop_after).handled())
        world = stack.enter_context(joined_world(recipe.train.device))
        startup.lap("world")
        preparation = None
        if world.is_main:
            stack.enter_context(folder_lock(run.path))
            reconcile_recipe(run, recipe, ui)
            if with_prepare and world.size == 1:
                preparation = stack.enter_context(begin(run, recipe, ui, stop))
            elif with_prepare:  # all processes read the same shards
                tell(prepare(run, recipe, ui), ui)
        world.wait_for_main()
        startup.lap("tokenizer")

        # Only now: torch takes a second to load, in which others encode the first text.
        from yxanul.stages.measure import decide_preset
        from yxanul.stages.session import build_session

        startup.lap("imports")
        if preparation is not None and not preparation.wait_for_start():
            preparation = None  # all text is encoded
        startup.lap("data")
        if with_preset is not None and recipe.model.preset == "auto" and world.is_main:
            recipe = decide_preset(with_preset, ui)
            write_text(run.recipe, dump_recipe(recipe))
        recipe = world.broadcast(recipe)
        session = build_session(run, recipe, ui, stop, preparation, world, startup)
        stack.callback(session.close)
        yield session
