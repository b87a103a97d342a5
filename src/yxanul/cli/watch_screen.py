"""What `yxanul watch` draws for a run: a few lines that fit 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from yxanul.base.figures import format_seconds
from yxanul.cli.pictures import area, escape, truncate

STYLES = {"passed": "green", "failed": "red", "running": "cyan", "stopped": "yellow"}
CURVE_HEIGHT, BAR_WIDTH, LABEL_WIDTH, WIDEST = 5, 24, 9, 100

Facts = Mapping[str, Any]


def screen(runs: Sequence[Facts], width: int) -> Text:
    """Return the picture of some runs; the curve of several is lower."""
    width = min(width, WIDEST)
    height = CURVE_HEIGHT if len(runs) == 1 else 2
    blocks = [Text("\n").join(block(run, width, height)) for run in runs]
    return Text("\n\n").join(blocks)


def block(run: Facts, width: int, height: int) -> Iterator[Text]:
    """Yield the lines of one run."""
    title = Text(escape(run["name"]), style="bold")
    title.append(f"  {run['status']}", style=STYLES[run["status"]])
    if run["status"] == "failed" or run["stage"] is None:
        yield title
        yield Text(truncate(escape(run["sentence"]), 3 * width))
    else:
        phase = ""
        if run["phase"] is not None:
            phase = f", phase {run['phase']} ({run['seq_len']:,} tokens a row)"
        title.append(f"  stage {run['stage_number']} '{escape(run['stage'])}'{phase}", style="dim")
        title.truncate(width, overflow="ellipsis")
        yield title
        yield _progress(run)
    yield from _curve(run["losses"], width, height)
    yield Text(_figures(run))
    if run["held_out"]:
        scores = "  ".join(f"{escape(name)} {bits:.4f}" for name, bits in run["held_out"].items())
        yield Text(truncate(f"held-out bits per byte: {scores}", 2 * width))
    for alert in run["alerts"]:
        text = f"step {alert['step']:,}: {alert['seen']}; try {alert['advice']}"
        yield Text(truncate(f"! {text}", 2 * width), style="yellow")


def _progress(run: Facts) -> Text:
    full = round(BAR_WIDTH * run["share"])
    bar = Text("█" * full + "░" * (BAR_WIDTH - full))
    bar.append(f" {run['share']:4.0%}  step {run['stage_step']:,} of {run['stage_steps'] or 0:,}")
    if run["seconds_left"] is not None:
        bar.append(f", {format_seconds(run['seconds_left'])} left", style="bold")
    return bar


def _curve(losses: Sequence[float], width: int, height: int) -> Iterator[Text]:
    """Yield the training loss on a logarithmic scale, as columns."""
    count = min(len(losses), width - LABEL_WIDTH - 1)
    if count < 2:
        return
    picked = [losses[round(n * (len(losses) - 1) / (count - 1))] for n in range(count)]
    low, high = min(picked), max(picked)
    if not low > 0:
        return
    room = math.log(high / low) or 1.0
    heights = [0.05 + math.log(loss / low) / room for loss in picked]
    for number, row in enumerate(area(heights, height)):
        label = f"{high:.3g}" if number == 0 else f"{low:.3g}" if number == height - 1 else ""
        yield Text.assemble(f"{label:>{LABEL_WIDTH - 1}} ", (row, "cyan"))


def _figures(run: Facts) -> str:
    parts = [f"loss {run['loss']:.3f}"] if run["loss"] is not None else ["no step yet"]
    if run["tokens_per_second"] is not None:
        parts.append(f"{run['tokens_per_second']:,.0f} tokens/s")
    if run["mfu"]:
        parts.append(f"MFU {run['mfu']:.1%}")
    if run["memory_gib"] is not None:
        parts.append(f"{run['memory_gib']:.2f} GiB")
    parts.append(f"{run['tokens']:,} tokens")
    parts.append(f"{format_seconds(run['seconds'])} trained")
    return "  ".join(parts)


def line(run: Facts) -> str:
    """Return the state of a run as one line for a log."""
    where = f"stage '{run['stage']}' {run['share']:.0%}" if run["stage"] else "no stage has begun"
    left = run["seconds_left"]
    parts = [f"{run['name']}: {run['status']}", where, f"step {run['step']:,}"]
    parts += [f"loss {run['loss']:.3f}"] if run["loss"] is not None else []
    parts += [f"{run['tokens_per_second']:,.0f} tokens/s"] if run["tokens_per_second"] else []
    parts += [f"{format_seconds(left)} left"] if left is not None else []
    return escape(", ".join(parts))
