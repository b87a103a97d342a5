"""Time a training step (forward, backward, optimizer) of yxanul against its peers.

    make bench-step                                    # installs the peers, runs the CPU's shapes
    python benchmarks/step.py --shapes small --contenders yxanul transformers-sdpa --threads 2

Every contender has the same architecture, start weights, batches, AdamW and precision (bf16 is
matrix products in bf16 over master weights in fp32: autocast for the peers, our twin for us), and a
process of its own that is idle while another one is timed. Rounds go A B B A, so that what drifts
slows all alike; a ratio is our speed over a peer's in the same round, given as median and range.
All have to start at the same loss, or there is no result. Where nothing else is said, each peer
does what it does for its own users: nanoGPT and litgpt round the vocabulary up to a multiple of 64,
`transformers` leaves it.

Memory is the peak during steps minus, "over state", what is held between them (weights and AdamW's
moments; no gradients), and "over empty", what the process held before there was a model. On a CPU
that is resident memory, with the code of the compiler for those that compile. MFU counts full
attention, 6 N + 12 L H K T, against the device's data sheet or, on a CPU, the best of several large
matrix products in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from harness.group import Group
from harness.options import PRECISIONS, fill_in, make_parser
from harness.report import (
    describe_machine,
    mebibytes,
    say,
    show_table,
    spread,
    write_results,
)
from harness.rounds import alternating, disagreements, ratios_of, repeats_for
from harness.shapes import STEP_SHAPES, Shape
from harness.weights import write_weights
from peers import STEPPERS
from yxanul.model.count import flops_per_token
from yxanul.monitor.peak_flops import matmul_peak
from yxanul.train.mixed_precision.weights import DTYPES

TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}
"""How far first losses may be apart, relative."""


def compare(name: str, precision: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Time one shape in one precision; None if the contenders do not agree."""
    shape = STEP_SHAPES[name]
    job = {
        "work": "step",
        "shape": name,
        "precision": precision,
        "device": options.device,
        "seq_len": options.seq_len or shape.seq_len,
        "tokens": options.tokens or shape.tokens,
        "threads": options.threads,
        "seed": options.seed,
    }
    say(f"{name} {precision}: {job['tokens']} tokens a step, {job['seq_len']} a row")
    peak = matmul_peak(torch.device(options.device), DTYPES[precision])
    with tempfile.TemporaryDirectory() as folder, Group() as group:
        write_weights(shape, Path(folder), options.seed)
        group.start(STEPPERS, options.contenders, shape, job | {"weights": folder})
        figures = {one: dict(process.built) for one, process in group.contenders.items()}
        for one, answer in group.ask_all("warm").items():
            figures[one] |= answer
        wrong = disagreements(
            {one: figures[one]["first_loss"] for one in group.contenders}, TOLERANCE[precision]
        )
        if wrong:
            say("THE CONTENDERS DO NOT START AT THE SAME LOSS:\n" + "\n".join(wrong))
            return None
        for one, answer in group.ask_all("memory").items():
            figures[one] |= answer
        speeds = measure(group, figures, options)
        absent = dict(group.absent)
    return job | {
        "peak_flops_per_second": peak.flops_per_second,
        "peak_source": peak.source,
        "flops_per_token": flops_per_token(shape.settings, job["seq_len"]).total,
        "contenders": summarise(figures, speeds, shape, job, peak.flops_per_second),
        "ratios": ratios_of(speeds),
        "absent": absent,
    }


def measure(
    group: Group, figures: dict[str, dict[str, Any]], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Run the rounds; return the tokens a second of each contender that finished them all."""
    for name in group.contenders:
        once = figures[name]["step_seconds"]
        figures[name]["steps_per_round"] = options.steps or repeats_for(options.seconds, once)
    speeds: dict[str, list[float]] = {name: [] for name in group.contenders}
    for _, name in alternating(list(group.contenders), options.rounds):
        if name in group.contenders:
            answer = group.ask(name, "round", steps=figures[name]["steps_per_round"])
            if answer:
                speeds[name].append(answer["tokens_per_second"])
    return {name: speeds[name] for name in group.contenders}


def summarise(
    figures: dict[str, dict[str, Any]],
    speeds: dict[str, list[float]],
    shape: Shape,
    job: dict[str, Any],
    peak: float,
) -> dict[str, dict[str, Any]]:
    """Return the figures of those that finished, with the median speed and its MFU."""
    flops = flops_per_token(shape.settings, job["seq_len"]).total
    found = {}
    for name, rounds in speeds.items():
        speed = statistics.median(rounds)
        found[name] = figures[name] | {
            "tokens_per_second": round(speed, 1),
            "rounds": [round(value, 1) for value in rounds],
            "mfu": round(speed * flops / peak, 4),
        }
    return found


def show(row: dict[str, Any]) -> None:
    """Print the table of one comparison."""
    ratios = row["ratios"]
    columns = ["", "tokens/s", *(f"{ours} / this" for ours in ratios)]
    columns += ["MiB over state", "over empty", "weights", "MFU", "first loss"]
    lines = []
    for name, one in row["contenders"].items():
        lines.append(
            [name, f"{one['tokens_per_second']:,.0f}"]
            + [spread(of_ours.get(name)) for of_ours in ratios.values()]
            + [mebibytes(one["peak_over_state_bytes"]), mebibytes(one["peak_over_empty_bytes"])]
            + [mebibytes(one["weight_bytes"]), f"{one['mfu']:.1%}", f"{one['first_loss']:.5f}"]
        )
    gigaflops = row["peak_flops_per_second"] / 1e9
    title = f"{row['shape']} {row['precision']} on {row['device']}"
    show_table(f"{title}, peak {gigaflops:,.0f} GFLOP/s ({row['peak_source']})", columns, lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, STEP_SHAPES, STEPPERS)
    parser.add_argument("--steps", type=int, help="steps a round, instead of --seconds")
    parser.add_argument("--seq-len", type=int, help="default: the shape's")
    parser.add_argument("--tokens", type=int, help="tokens a step; default: the shape's")
    options = fill_in(parser.parse_args(arguments), STEP_SHAPES)
    default = ["bf16"] if options.device == "cuda" else PRECISIONS
    options.precisions = options.precisions or default
    return options


def main() -> int:
    """Run all comparisons; 1 if one had no result."""
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    machine, failed = describe_machine(options.threads), False
    for name in options.shapes:
        rows = []
        for precision in options.precisions:
            row = compare(name, precision, options)
            if row is None:
                failed = True
                continue
            show(row)
            rows.append(row)
        if rows:
            found = {"machine": machine, "rows": rows}
            write_results(options.out, f"step-{name}", options.device, found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
