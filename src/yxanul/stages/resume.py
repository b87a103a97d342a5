"""Going on with a run: the recipe it was begun with, and what a changed one may change."""

from __future__ import annotations

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.recipe import Recipe, differences, dump_recipe, load_recipe
from yxanul.stages.ledger import Ledger

FIXED = (
    "seed",
    "tokenizer.",
    "data.sources.",
    "data.validation_fraction",
    "data.filters",
    "data.deduplicate",
    "data.decontaminate",
    "data.shuffle_tokens",
    "eval.benchmarks",
    "model.",
)
"""Keys whose change would make what is on disk wrong."""


def settle_recipe(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Write the resolved recipe into the run, or compare it with the one that is there.

    A change of the data, the tokenizer or the model is refused; any other is named and taken.
    """
    if run.recipe.exists():
        begun_with = _recipe_of(run)
        changes = differences(begun_with, recipe)
        changes.pop("description", None)
        fixed_keys = FIXED + _passed_stages(run, begun_with)
        fixed = {key: change for key, change in changes.items() if key.startswith(fixed_keys)}
        if fixed:
            raise YxanulError(
                f"{run.path} was begun with another recipe",
                found=", ".join(f"{key}: {change}" for key, change in fixed.items()),
                hint="choose another folder with --out, or delete this one",
            )
        for key, change in changes.items():
            ui.warn(f"the recipe has changed since this run began: {key}: {change}")
        if not changes:
            return
    write_text(run.recipe, dump_recipe(recipe))


def _recipe_of(run: RunFolder) -> Recipe:
    try:
        return load_recipe(str(run.recipe))
    except YxanulError as error:
        raise YxanulError(
            f"{run.path} was begun by another version of yxanul",
            found=error,
            hint="choose another folder with --out",
        ) from None


def _passed_stages(run: RunFolder, recipe: Recipe) -> tuple[str, ...]:
    """Return the keys of stages that are behind the run; its gates may change without effect."""
    entries = {entry.name: entry for entry in Ledger.open(run.ledger).entries}
    keys: list[str] = []
    for index, stage in enumerate(recipe.stages):
        if stage.name in entries:
            keys.append(f"stages.{index}.name")
        if stage.name in entries and entries[stage.name].status == "passed":
            keys += [f"stages.{index}.{name}" for name in ("mix", "budget", "curriculum", "optim")]
    return tuple(keys)
