"""Finding recipes and curricula by name (installed ones) or by path."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from yxanul.base.errors import YxanulError, near_miss
from yxanul.base.files import expand_home


def installed_recipes() -> dict[str, Path]:
    """Return the installed recipes, by name."""
    return _installed("recipes")


def installed_curricula() -> dict[str, Path]:
    """Return the installed curricula, which stages may extend, by name."""
    return _installed("recipes/curricula")


def find_recipe(name: str, relative_to: Path | None = None) -> Path:
    """Return the file of a recipe given by path or by the name of an installed one."""
    return _find(name, relative_to, "recipe", installed_recipes())


def find_curriculum(name: str, relative_to: Path | None = None) -> Path:
    """Return the file of a curriculum given by path or by the name of an installed one."""
    return _find(name, relative_to, "curriculum", installed_curricula())


def _installed(folder: str) -> dict[str, Path]:
    files = sorted((Path(str(resources.files("yxanul"))) / folder).glob("*.yaml"))
    return {path.stem: path for path in files}


def _find(name: str, relative_to: Path | None, kind: str, installed: dict[str, Path]) -> Path:
    if name in installed:
        return installed[name]
    path = (relative_to or Path()) / expand_home(name)
    if name and path.is_file():
        return path
    if name and path.exists():
        of_run = path / "recipe.yaml"
        raise YxanulError(
            f"{path} is not a {kind} file",
            got="a folder" if path.is_dir() else "a pipe, a socket or a device",
            hint=f"did you mean '{of_run}'?" if kind == "recipe" and of_run.is_file() else None,
        )
    folder = path.parent
    near = near_miss(path.name, [*_yaml_files(folder), *(() if "/" in name else installed)])
    if name.endswith((".yaml", ".yml")) or "/" in name:
        broken = f"a broken link to {os.readlink(path)}" if path.is_symlink() else None
        raise YxanulError(f"{kind} file {path} not found", got=broken, hint=near)
    if kind == "recipe" and name in installed_curricula():
        near = f"'{name}' is a curriculum: a stage uses it with `extends: {name}`"
    elif kind == "recipe" and "=" in name:
        near = "give the recipe before the overrides"
    raise YxanulError(
        f"unknown {kind} '{name}'",
        expected=f"a path to a .yaml file or one of {', '.join(installed)}",
        hint=near,
    )


def _yaml_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.y*ml") if path.is_file())
