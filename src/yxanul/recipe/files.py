"""Finding recipes and curricula by name (installed ones) or by path."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import expand_home

FOLDERS = {"recipe": "recipes", "curriculum": "recipes/curricula"}
"""Folder of each kind of file; stages may extend a curriculum."""


def installed_files(kind: str) -> dict[str, Path]:
    """Return the installed files of a kind, by name."""
    files = sorted((Path(str(resources.files("yxanul"))) / FOLDERS[kind]).glob("*.yaml"))
    return {path.stem: path for path in files}


def find_file(kind: str, name: str, relative_to: Path) -> Path:
    """Return the file of a kind, given by path or by the name of an installed one."""
    installed = installed_files(kind)
    if name in installed:
        return installed[name]
    path = relative_to / expand_home(name)
    if name and path.is_file():
        return path
    if name and path.exists():
        of_run = path / "recipe.yaml"
        raise YxanulError(
            f"{path} is not a {kind} file",
            got="a folder" if path.is_dir() else "a pipe, a socket or a device",
            hint=f"did you mean '{of_run}'?" if kind == "recipe" and of_run.is_file() else None,
        )
    beside = sorted(one.name for one in path.parent.glob("*.y*ml") if one.is_file())
    near = did_you_mean(path.name, beside if "/" in name else [*beside, *installed])
    if name.endswith((".yaml", ".yml")) or "/" in name:
        broken = f"a broken link to {os.readlink(path)}" if path.is_symlink() else None
        raise YxanulError(f"{kind} file {path} not found", got=broken, hint=near)
    if kind == "recipe" and name in installed_files("curriculum"):
        near = f"'{name}' is a curriculum: a stage uses it with `extends: {name}`"
    elif kind == "recipe" and "=" in name:
        near = "give the recipe before the overrides"
    raise YxanulError(
        f"unknown {kind} '{name}'",
        expected=f"a path to a .yaml file or one of {', '.join(installed)}",
        hint=near,
    )
