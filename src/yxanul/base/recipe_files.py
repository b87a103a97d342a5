"""Recipes and curricula by name or path: those that come with the package, and people's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from yxanul.base.errors import YxanulError, near_miss


def installed_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return _installed("recipes")


def installed_curricula() -> dict[str, Path]:
    """Return the curricula that come with the package, by name: what stages may extend."""
    return _installed("recipes/curricula")


def find_recipe(name: str, beside: Path | None = None) -> Path:
    """Return the file of a recipe given by path or by the name of an installed one."""
    return _find(name, beside, "recipe", installed_recipes())


def find_curriculum(name: str, beside: Path | None = None) -> Path:
    """Return the file of a curriculum given by path or by the name of an installed one."""
    return _find(name, beside, "curriculum", installed_curricula())


def _installed(folder: str) -> dict[str, Path]:
    files = sorted((Path(str(resources.files("yxanul"))) / folder).glob("*.yaml"))
    return {path.stem: path for path in files}


def _find(name: str, beside: Path | None, kind: str, installed: dict[str, Path]) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if beside is not None and not path.is_absolute():
            path = beside / path
        if not path.is_file():
            raise YxanulError(f"there is no {kind} file {path}")
        return path
    if name not in installed:
        hint = near_miss(name, installed)
        if kind == "recipe" and name in installed_curricula():
            hint = f"'{name}' is a curriculum: a stage takes it with `extends: {name}`"
        raise YxanulError(
            f"unknown {kind} '{name}'",
            wanted=f"a path to a .yaml file or one of {', '.join(installed)}",
            hint=hint,
        )
    return installed[name]
