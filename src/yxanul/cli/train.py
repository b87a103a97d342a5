"""`yxanul train`: shards to checkpoints."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yxanul.cli.options import (
    CooldownOption,
    DeviceOption,
    DevicesOption,
    DisableFp8Option,
    EvalOnlyOption,
    JsonOption,
    OutOption,
    Overrides,
    RecipeArgument,
    RestartsOption,
    ResumeOption,
    StopAfterOption,
    StrategyOption,
    run_folder_of,
    with_device,
)

if TYPE_CHECKING:
    from yxanul.cli.launch import Order
    from yxanul.stages.summary import Outcome

NAME = "train"
EXAMPLES = """**Examples**

`yxanul prepare quickstart && yxanul train quickstart`

`yxanul train quickstart optim.peak_lr=2e-3`

`yxanul train fineweb-ultra --devices 8 --strategy fsdp`"""

SAMPLE_LINES, SAMPLE_CHARS = 24, 2_000


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    restarts: RestartsOption = 0,
    resume: ResumeOption = False,
    eval_only: EvalOnlyOption = False,
    disable_fp8: DisableFp8Option = False,
    cooldown_now: CooldownOption = False,
    stop_after: StopAfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train every stage of a recipe whose shards are prepared; resumes where it stopped."""
    from yxanul.base.errors import YxanulError
    from yxanul.cli.launch import Order, launched

    if eval_only and cooldown_now:
        raise YxanulError("--eval-only trains nothing and --cooldown-now does; give one of them")
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
        stop_after=stop_after,
        as_json=as_json,
    )
    if eval_only:
        from yxanul.cli.evaluate import command as evaluate

        evaluate(order.out, checkpoint="last", device=device, as_json=as_json)
        return
    if (last := order.last_step()) and stop_after is not None and last >= stop_after:
        show_stop(order, f"{order.out} is at step {last} already")
        return
    outcome = None
    with stopping_after(order), launched(order) as session:
        if session is not None:
            from yxanul.stages.runner import run_stages
            from yxanul.stages.summary import summarize

            run_stages(session)
            outcome = summarize(session)
    if outcome is not None:
        show_outcome(outcome, as_json)


@contextlib.contextmanager
def stopping_after(order: Order) -> Iterator[None]:
    """A stop at the step that --stop-after names is no failure."""
    from yxanul.base.errors import Interrupted

    try:
        yield
    except Interrupted as stop:
        if order.stop_after is None or order.last_step() < order.stop_after:
            raise
        show_stop(order, stop.what)


def show_stop(order: Order, text: str) -> None:
    """Say where the run stands now."""
    from yxanul.cli.output import print_json

    order.ui().say(text)
    if order.as_json and os.environ.get("RANK", "0") == "0":
        print_json({"run": str(order.out), "step": order.last_step()})


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print what came out of a run."""
    from yxanul.cli.output import print_json, print_text

    if as_json:
        print_json(outcome.to_dict())
    else:
        print_text(summary(outcome))


def summary(outcome: Outcome) -> str:
    """Return what a finished run shows: a sample, the held-out scores, where it lies."""
    lines = [""]
    for sample in outcome.samples:
        lines += [readable(sample), ""]
    for entry in outcome.stages:
        lines.append(f"stage '{entry.name}': {entry.status}, {entry.tokens:,} tokens")
    lines.append("held-out bits per byte:")
    for domain, score in outcome.scores.items():
        needed = outcome.xz[domain]
        xz = f"  (xz -9e of the same text: {needed:.3f})" if needed else ""
        note = "  synthetic" if domain in outcome.synthetic else ""
        lines.append(f"  {domain:<16}{score.bits_per_byte:.3f}{xz}{note}")
    command = ["yxanul", "generate", str(outcome.run), outcome.prompt]
    lines += [f"the run is in {outcome.run}; go on with:", f"  {shlex.join(command)}"]
    return "\n".join(lines)


def readable(sample: str) -> str:
    """Return a sample for people: no empty lines beyond those of paragraphs, and not too long."""
    from yxanul.cli.pictures import safe

    text = safe(re.sub(r"\s*\n\s*\n\s*", "\n\n", sample.strip()), keep="\n")
    shown = "\n".join(text.splitlines()[:SAMPLE_LINES])[:SAMPLE_CHARS]
    return shown if shown == text else f"{shown.rstrip()} ..."
