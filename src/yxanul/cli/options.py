"""Arguments and options shared by several subcommands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from yxanul.base.errors import YxanulError

_FOLDER = "a folder, existing or new"


def argument(metavar: str, help: str, **rules: Any) -> Any:
    """Declare an argument of a command."""
    return typer.Argument(metavar=metavar, help=help, show_default=False, **rules)


def option(metavar: str, help: str, *names: str, **rules: Any) -> Any:
    """Declare an option with a value, by default named after its parameter."""
    return typer.Option(*names, metavar=metavar, help=help, **rules)


def flag(names: str, help: str) -> Any:
    """Declare an option without a value."""
    return typer.Option(names, metavar="", help=help)


RecipeArgument = Annotated[
    str, argument("RECIPE", "A recipe: a path, or the name of an installed one.")
]
Overrides = Annotated[
    list[str] | None,
    argument(
        "KEY=VALUE", "Overrides such as `optim.peak_lr=1e-3` or `'stages.0.budget={steps: 120}'`."
    ),
]


def folder_named(text: str) -> Path:
    """Return the folder of --out; an empty name would be the current folder."""
    if not text or "\0" in text:
        raise YxanulError("--out", got=repr(text), expected=_FOLDER)
    return Path(text)


OutOption = Annotated[
    Path | None, option("DIR", "The run folder.  [default: runs/NAME]", parser=folder_named)
]
JsonOption = Annotated[bool, flag("--json", "Print one JSON object on stdout, nothing else.")]
RunArgument = Annotated[
    Path,
    argument("RUN", "A run folder, or a model folder of `transformers` (Llama, Qwen3, Gemma 3)."),
]
CheckpointOption = Annotated[str, option("WHICH", "`best`, `last` or a step number.")]


ShardsArgument = Annotated[
    Path,
    argument("SHARDS", "A run folder, a folder of encoded sources, or the folder of one source."),
]
TokenizerOption = Annotated[
    str | None,
    option("NAME|FILE", "The tokenizer that the text was encoded with.  [default: the run's]"),
]


class Device(StrEnum):
    """Compute device."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption = Annotated[
    Device | None,
    option(
        "auto|cpu|cuda",
        "Compute device (recipe key `train.device`).  [default: a GPU if available]",
    ),
]
DevicesOption = Annotated[
    int | None,
    option(
        "N",
        "Training processes, one per GPU.  [default: all GPUs; on a CPU one, or several if others"
        " keep it busy]",
        min=1,
    ),
]
StrategyOption = Annotated[
    str | None,
    option("ddp|fsdp|deepspeed", "Parallelism across processes.  [default: train.strategy]"),
]
RestartsOption = Annotated[
    int, option("N", "Maximum restarts from the last checkpoint when a process dies.", min=0)
]
ResumeOption = Annotated[
    bool, flag("--resume", "Resume from the newest checkpoint, as is the default anyway.")
]
DisableFp8Option = Annotated[
    bool, flag("--disable-fp8", "Use bf16 where the recipe sets fp8 or may try it.")
]
CooldownOption = Annotated[
    bool,
    flag(
        "--cooldown-now",
        "End early with the wsd schedule's cooldown; also works on a run in progress.",
    ),
]


def with_device(overrides: Sequence[str] | None, device: Device | None) -> tuple[str, ...]:
    """Return the overrides of a recipe, including --device."""
    return (*(overrides or ()), *([f"train.device={device}"] if device else ()))


def run_folder_of(recipe: str, out: Path | None) -> Path:
    """Return the run folder: --out, or runs/<recipe name>."""
    run = out if out is not None else Path("runs") / Path(recipe).stem
    if re.match(r"[a-z0-9]+:/", str(run)):
        problem = "a remote address: a run folder is local, only data.folder may be remote"
        raise YxanulError(f"--out {run}", got=problem, expected=_FOLDER)
    check_folder(run)
    return run


def check_folder(folder: Path) -> None:
    """Raise if `folder`, given with --out, neither is a folder nor can become one."""
    problem = None
    if folder.is_symlink() and not folder.exists():
        problem = f"a broken link to {folder.readlink()}"
    elif existing := next((path for path in (folder, *folder.parents) if path.exists()), None):
        problem = None if existing.is_dir() else f"{existing} is not a folder"
    if problem:
        raise YxanulError(f"--out {folder}", got=problem, expected=_FOLDER)
