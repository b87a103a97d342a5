"""Going on with a run: the recipe it was begun with, and what a changed one may change."""

from __future__ import annotations

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.recipe import Recipe, differences, dump_recipe, load_recipe

FIXED = ("seed", "tokenizer.", "data.sources.", "data.validation_fraction", "model.")
"""Keys whose change would make what is on disk wrong."""


def settle_recipe(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Write the resolved recipe into the run, or compare it with the one that is there.

    A change of the data, the tokenizer or the model is refused; any other is named and taken.
    """
    if run.recipe.exists():
        changes = differences(load_recipe(str(run.recipe)), recipe)
        changes.pop("description", None)
        fixed = {key: change for key, change in changes.items() if key.startswith(FIXED)}
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
