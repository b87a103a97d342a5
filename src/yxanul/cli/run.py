"""`yxanul run`: prepare, train and evaluate a recipe."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.cli.options import (
    CooldownOption,
    DeviceOption,
    DevicesOption,
    DisableFp8Option,
    JsonOption,
    OutOption,
    Overrides,
    RecipeArgument,
    RestartsOption,
    ResumeOption,
    StrategyOption,
    run_folder_of,
    with_device,
)

if TYPE_CHECKING:
    from yxanul.cli.launch import Order
    from yxanul.stages.summary import Outcome

NAME = "run"
EXAMPLES = """**Examples**

`yxanul run quickstart`

`yxanul run own-text data.sources.mine.path=~/books 'stages.0.budget={minutes: 9}' --out books`

Repeat the command to resume an interrupted or failed run."""

SAMPLE_LINES, SAMPLE_CHARS = 24, 2_000
PROGRAM = "yxanul"


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    restarts: RestartsOption = 0,
    resume: ResumeOption = False,
    disable_fp8: DisableFp8Option = False,
    cooldown_now: CooldownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe: tokenizer, shards, every stage and its gate, then samples and scores."""
    from yxanul.cli.launch import Order

    order = Order(
        NAME,
        recipe,
        with_device(overrides, device),
        run_folder_of(recipe, out),
        devices=devices,
        strategy=strategy,
        restarts=restarts,
        resume=resume,
        disable_fp8=disable_fp8,
        cooldown_now=cooldown_now,
        as_json=as_json,
    )
    run_recipe(order)


def run_recipe(order: Order) -> None:
    """Execute `run` or `train`, here or in several processes, and show the outcome."""
    from yxanul.cli.launch import launched
    from yxanul.cli.output import print_result, print_text

    outcome = None
    with launched(order) as session:
        if session is not None:
            from yxanul.base.errors import GateFailed
            from yxanul.stages.runner import run_stages
            from yxanul.stages.summary import summarize

            try:
                run_stages(session)
            except GateFailed as failure:
                if outcome := summarize(session):
                    failure.facts = outcome.to_dict() | failure.facts
                    if not order.as_json:
                        print_text(summary(outcome))
                raise
            outcome = summarize(session)
    if outcome is not None:
        print_result(outcome.to_dict(), summary(outcome), order.as_json)


def summary(outcome: Outcome) -> str:
    """Return a finished run's summary: samples, held-out scores, its folder, the next commands."""
    from yxanul.stages.summary import SAMPLING

    lines = [""]
    for sample in outcome.samples:
        lines += [readable(sample), ""]
    for entry in outcome.stages:
        lines.append(f"stage '{entry.name}': {entry.status}, {entry.tokens:,} tokens")
    lines.append("held-out bits per byte:")
    for domain, score in outcome.scores.items():
        needed = outcome.xz[domain]
        xz = f"xz -9e of the same text: {needed:.3f}" if needed else ""
        if after := outcome.xz_after_training[domain]:
            xz += f"; after the training text: {after:.3f}"
        xz = f"  ({xz})" if xz else ""
        note = "  synthetic" if domain in outcome.synthetic else ""
        lines.append(f"  {domain:<16}{score.bits_per_byte:.3f}{xz}{note}")
    run, program = str(outcome.run), own_command()
    more = ["generate", run, outcome.prompt, "--temperature", f"{SAMPLING.temperature:g}"]
    lines.append(f"the run is in {run}, its report in {run}/report.html; what to type next:")
    lines += [
        f"  {shlex.join([*program, *more, '--samples', '4'])}",
        f"  {shlex.join([*program, 'show', run])}",
    ]
    return "\n".join(lines)


def own_command() -> list[str]:
    """Return the words that start this program again from the same shell."""
    if shutil.which(PROGRAM):
        return [PROGRAM]
    if Path(sys.argv[0]).name == PROGRAM:
        return [sys.argv[0]]
    return [sys.executable, "-m", PROGRAM]


def readable(sample: str) -> str:
    """Return a sample with runs of empty lines collapsed, cut to a readable length."""
    from yxanul.cli.pictures import safe

    text = safe(re.sub(r"\s*\n\s*\n\s*", "\n\n", sample.strip()), keep="\n")
    shown = "\n".join(text.splitlines()[:SAMPLE_LINES])[:SAMPLE_CHARS]
    return shown if shown == text else f"{shown.rstrip()} ..."
