"""Arguments and options shared by several subcommands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from yxanul.base.errors import YxanulError

_FOLDER = "a folder, existing or new"
RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe: a path, or the name of an installed one."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Overrides such as `optim.peak_lr=1e-3` or `'stages.0.budget={steps: 120}'`.",
        show_default=False,
    ),
]


def folder_named(text: str) -> Path:
    """Return the folder of --out; an empty name would be the current folder."""
    if not text or "\0" in text:
        raise YxanulError("--out", got=repr(text), expected=_FOLDER)
    return Path(text)


OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", parser=folder_named, help="The run folder.  [default: runs/NAME]"
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Print one JSON object on stdout, nothing else."),
]
RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder, or a model folder of `transformers` (Llama, Qwen3, Gemma 3).",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    str,
    typer.Option("--checkpoint", metavar="WHICH", help="`best`, `last` or a step number."),
]


ShardsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SHARDS",
        help="A run folder, a folder of encoded sources, or the folder of one source.",
        show_default=False,
    ),
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="NAME|FILE",
        help="The tokenizer that the text was encoded with.  [default: the run's]",
        show_default=False,
    ),
]


class Device(StrEnum):
    """Compute device."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption = Annotated[
    Device | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Compute device (recipe key `train.device`).  [default: a GPU if available]",
        show_default=False,
    ),
]
DevicesOption = Annotated[
    int | None,
    typer.Option(
        "--devices",
        metavar="N",
        min=1,
        help="Training processes, one per GPU.  [default: all GPUs, else one process]",
        show_default=False,
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="ddp|fsdp|deepspeed",
        help="Parallelism across processes.  [default: train.strategy]",
        show_default=False,
    ),
]
RestartsOption = Annotated[
    int,
    typer.Option(
        "--restarts",
        metavar="N",
        min=0,
        help="Maximum restarts from the last checkpoint when a process dies.",
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", metavar="", help="Resume from the newest checkpoint, as is the default anyway."
    ),
]
EvalOnlyOption = Annotated[
    bool,
    typer.Option(
        "--eval-only", metavar="", help="Skip training: score the held-out text, like `eval`."
    ),
]
DisableFp8Option = Annotated[
    bool,
    typer.Option(
        "--disable-fp8", metavar="", help="Use bf16 where the recipe sets fp8 or may try it."
    ),
]
CooldownOption = Annotated[
    bool,
    typer.Option(
        "--cooldown-now",
        metavar="",
        help="End early with the wsd schedule's cool-down; also works on a run in progress.",
    ),
]


StopAfterOption = Annotated[
    int | None,
    typer.Option(
        "--stop-after",
        metavar="N",
        min=1,
        help="Save and stop after step N of the run; the same command resumes from there.",
        show_default=False,
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
