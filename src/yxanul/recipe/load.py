"""Loading a recipe: parents, curricula and overrides, validated as one `Recipe`.

A recipe may extend another recipe, a stage may extend a curriculum, and overrides `key.path=value`
are applied last. All mistakes are reported at once, each with its position in the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yxanul.base.errors import YxanulError, errors_at
from yxanul.base.files import expand_home
from yxanul.base.run_folder import RunFolder
from yxanul.base.settings import Misfit
from yxanul.model.config import ModelSettings, merge_with_weights
from yxanul.model.zoo import AUTO_PRESET, PRESETS
from yxanul.recipe.files import find_file, installed_files
from yxanul.recipe.recipe import Recipe
from yxanul.recipe.source_map import SourceMap, read
from yxanul.recipe.validation_errors import in_yaml, misfit_lines, mistake_lines


class RecipeError(YxanulError):
    """Mistakes in a recipe: one line each, with file, line and column."""


def load_recipe(name: str, overrides: Sequence[str] = (), run: RunFolder | None = None) -> Recipe:
    """Read a recipe with its parents and overrides and validate it; raise RecipeError."""
    return check_tree(read_tree(name, overrides, run))


def load_with_preset(
    name: str, overrides: Sequence[str], run: RunFolder | None, preset: str
) -> Recipe:
    """Return a recipe with the preset that `model.preset: auto` came to."""
    tree = read_tree(name, overrides, run)
    model, stand_in = tree.value["model"], PRESETS[AUTO_PRESET]
    if stand_in.keys() <= model.keys():  # a resolved recipe: its shape stands for auto
        for field, value in stand_in.items():
            if model[field] == value:
                del model[field]
    tree.set("model.preset", preset)
    return check_tree(tree)


def read_tree(name: str, overrides: Sequence[str] = (), run: RunFolder | None = None) -> SourceMap:
    """Read a recipe with its parents and overrides, without validation.

    If `run` has checkpoints, the model's shape comes from the run, not from `model.init_from`.
    """
    given = SourceMap({})
    _override(given, [one for one in overrides if one.startswith("model")])
    from_weights = _init_from(given) is not None
    path = find_file("recipe", name, Path())
    tree = _read_with_ancestors(path, "recipe", (), from_weights=from_weights)
    if from_weights and name in installed_files("recipe"):
        _drop_model(tree)
    _override(tree, overrides)
    _take_shape(tree, run)
    return tree


def _override(tree: SourceMap, overrides: Sequence[str]) -> None:
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise YxanulError(f"override '{override}'", expected="key.path=value")
        tree.set(dotted, text)


def _init_from(tree: SourceMap) -> Any:
    """Return a tree's model.init_from, or None."""
    model = tree.value.get("model") if isinstance(tree.value, dict) else None
    return model.get("init_from") if isinstance(model, dict) else None


def _take_shape(tree: SourceMap, run: RunFolder | None) -> None:
    """Fill in the model settings of the weights in model.init_from, if given."""
    folder = _init_from(tree)
    if not isinstance(folder, str):
        return
    tree.value.setdefault("tokenizer", None)
    given = tree.value["model"]
    begun = read(run.recipe) if run is not None and run.has_begun else SourceMap({})
    if _init_from(begun) == folder:
        explicit = {name: value for name, value in given.items() if value is not None}
        given = tree.value["model"] = begun.value["model"] | explicit | {"preset": None}
    if ModelSettings.model_fields.keys() - {"preset"} <= given.keys():
        return  # a resolved recipe has the shape already
    from yxanul.bundle import read_shape

    with errors_at(f"{tree.mark(('model', 'init_from'))}: model.init_from"):
        shape = read_shape(expand_home(folder))
    tree.value["model"], conflicts = merge_with_weights(given, shape)
    if conflicts:
        lines = [
            f"{tree.mark(('model', key))}: model.{key}: does not match the weights in {folder};"
            f" got {given.get(key, 'another value')}; expected {theirs}; leave it out"
            for key, theirs in conflicts.items()
        ]
        raise RecipeError("\n".join(lines))


def check_tree(tree: SourceMap) -> Recipe:
    """Validate a tree as a Recipe; report every mistake with its position."""
    plain = json.dumps(_without_null_rate(tree.value), default=str)
    try:
        return Recipe.model_validate_json(plain, strict=True)
    except ValidationError as error:
        raise RecipeError("\n".join(mistake_lines(tree, error, Recipe))) from None


def refuse(tree: SourceMap, misfits: Sequence[Misfit]) -> None:
    """Raise RecipeError for misfits of a recipe read from `tree`, each with its position."""
    if misfits:
        raise RecipeError("\n".join(misfit_lines(tree, misfits)))


def _without_null_rate(recipe: Any) -> Any:
    """Let `peak_lr: null` reset a parent's value, so that the default learning rate applies."""
    optim = recipe.get("optim") if isinstance(recipe, dict) else None
    if not isinstance(optim, dict) or optim.get("peak_lr", "") is not None:
        return recipe
    return {**recipe, "optim": {k: v for k, v in optim.items() if k != "peak_lr"}}


def _read_with_ancestors(
    path: Path, kind: str, children: tuple[Path, ...], from_weights: bool = False
) -> SourceMap:
    tree = read(path)
    if not isinstance(tree.value, dict):
        got = "an empty file" if tree.value is None else in_yaml(tree.value)
        raise YxanulError(f"{path} is not a recipe", got=got, expected="a mapping of sections")
    _take_curricula(tree, path)
    return _over_parent(tree, path, kind, (*children, path.resolve()), from_weights)


def _over_parent(
    tree: SourceMap,
    path: Path,
    kind: str,
    children: tuple[Path, ...],
    from_weights: bool = False,
) -> SourceMap:
    """Merge a mapping over the file of a kind that it extends, if any.

    With `model.init_from`, the parents' model and tokenizer are ignored.
    """
    parent = tree.value.pop("extends", None)
    if parent is None:
        return tree
    position = f"{tree.mark(('extends',))}: extends"
    if not isinstance(parent, str):
        raise RecipeError(position, got=in_yaml(parent), expected="a name")
    with errors_at(position):
        parent_path = find_file(kind, parent, path.parent)
    if parent_path.resolve() in children:
        cycle = " -> ".join(map(str, (*children, parent_path.resolve())))
        raise RecipeError(f"{position}: a recipe extends itself", got=cycle)
    base = _read_with_ancestors(parent_path, kind, children)
    if from_weights or _init_from(tree) is not None:
        _drop_model(base)
    return tree.merged_over(base)


def _drop_model(tree: SourceMap) -> None:
    for section in ("model", "tokenizer"):
        tree.value.pop(section, None)


def _take_curricula(tree: SourceMap, path: Path) -> None:
    """Merge each stage over the curriculum that it extends."""
    stages = tree.value.get("stages")
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(stage, dict) and "extends" in stage:
            keys = ("stages", index)
            tree.put(keys, _over_parent(tree.below(keys), path, "curriculum", ()))
