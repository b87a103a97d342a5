"""Arguments and options that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from yxanul.base.errors import YxanulError

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
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run folder.  [default: runs/NAME]"),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", metavar="", help="One JSON object on stdout, and nothing else there."),
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
    typer.Option("--checkpoint", metavar="WHICH", help="`best`, `last`, or the number of a step."),
]


ShardsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SHARDS",
        help="A run folder, a folder of encoded sources, or the folder of one of them.",
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
    """Where a model computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption = Annotated[
    Device | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to compute (in a recipe: `train.device`).  [default: a GPU if any]",
        show_default=False,
    ),
]
DevicesOption = Annotated[
    int | None,
    typer.Option(
        "--devices",
        metavar="N",
        min=1,
        help="Processes that train together, one a GPU.  [default: every GPU there is, else one]",
        show_default=False,
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="ddp|fsdp|deepspeed",
        help="How they share the work.  [default: train.strategy]",
        show_default=False,
    ),
]
RestartsOption = Annotated[
    int,
    typer.Option(
        "--restarts",
        metavar="N",
        min=0,
        help="How often to start again from the last checkpoint when a process dies.",
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", metavar="", help="Go on from the newest checkpoint, as happens without it too."
    ),
]
EvalOnlyOption = Annotated[
    bool,
    typer.Option(
        "--eval-only", metavar="", help="Train nothing: score the held-out text, as `eval`."
    ),
]
DisableFp8Option = Annotated[
    bool,
    typer.Option(
        "--disable-fp8", metavar="", help="bf16 where the recipe asks for fp8, or may try it."
    ),
]
CooldownOption = Annotated[
    bool,
    typer.Option(
        "--cooldown-now",
        metavar="",
        help="End early with the cool-down of the wsd schedule; works on a run in progress too.",
    ),
]


StopAfterOption = Annotated[
    int | None,
    typer.Option(
        "--stop-after",
        metavar="N",
        min=1,
        help="Save and stop after step N of the run; the same command goes on from there.",
        show_default=False,
    ),
]


def with_device(overrides: Sequence[str] | None, device: Device | None) -> tuple[str, ...]:
    """Return the overrides of a recipe, --device among them."""
    return (*(overrides or ()), *([f"train.device={device}"] if device else ()))


def run_folder_of(recipe: str, out: Path | None) -> Path:
    """Return the run folder: --out, or runs/<recipe name>."""
    run = out if out is not None else Path("runs") / Path(recipe).stem
    found = None
    if re.match(r"[a-z0-9]+:/", str(run)):
        found = "an address; a run lies on this machine, its text may not: see data.folder"
    elif run.is_symlink() and not run.exists():
        found = f"a link to {run.readlink()}, which is not there"
    elif there := next((one for one in (run, *run.parents) if one.exists()), None):
        found = None if there.is_dir() else f"{there} is no folder"
    if found:
        raise YxanulError(f"--out {run}", got=found, expected="a folder, or one that can be made")
    return run
