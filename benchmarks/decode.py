"""Time greedy generation of yxanul against `transformers`, with its two kinds of cache.

    make bench-decode                                # installs the peer, runs the CPU's shapes
    python benchmarks/decode.py --shapes small --precisions fp32 --batches 1 8 --threads 2

Every contender reads the same prompts (random tokens, one a row) and writes on, no end of text, in
a process of its own that is idle while another one is timed. Rounds go A B B A; a ratio is our
speed over a peer's in the same round, given as median and range. Speed is new tokens of all rows
over the time of the whole call, reading the prompts included. Models have random weights and an
untied head. In fp32 the tokens are compared: how many agree with ours before the first that differs
(one that differs changes all after it, and a near tie is enough).
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
from harness.report import describe_machine, say, show_table, spread, write_results
from harness.rounds import agreeing, alternating, ratios_of, repeats_for
from harness.shapes import DECODE_SHAPES
from harness.weights import write_weights
from peers import DECODERS


def compare(name: str, precision: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time one shape in one precision, batch size by batch size."""
    shape = DECODE_SHAPES[name]
    job = {
        "work": "decode",
        "shape": name,
        "precision": precision,
        "device": options.device,
        "prompt_tokens": options.prompt_tokens,
        "new_tokens": options.new_tokens,
        "threads": options.threads,
        "seed": options.seed,
    }
    with tempfile.TemporaryDirectory() as folder, Group() as group:
        write_weights(shape, Path(folder), options.seed)
        group.start(DECODERS, options.contenders, shape, job | {"weights": folder})
        rows = [job | measure(group, batch, options) for batch in options.batches]
        return [row | {"absent": dict(group.absent)} for row in rows]


def measure(group: Group, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the rounds of one batch size."""
    warm = group.ask_all("warm", batch=batch)
    repeats = {
        name: options.repeats or repeats_for(options.seconds, answer["seconds"], least=1)
        for name, answer in warm.items()
    }
    speeds: dict[str, list[float]] = {name: [] for name in warm}
    for _, name in alternating(list(warm), options.rounds):
        answer = group.ask(name, "round", batch=batch, repeats=repeats[name])
        if answer:
            speeds[name].append(answer["tokens_per_second"])
    speeds = {name: speeds[name] for name in group.contenders}
    expected = next(iter(warm.values()), {"ids": []})["ids"]
    contenders = {
        name: {
            "tokens_per_second": round(statistics.median(rounds), 2),
            "rounds": [round(value, 2) for value in rounds],
            "repeats_per_round": repeats[name],
            "agreeing_tokens": agreeing(expected, warm[name]["ids"]),
        }
        for name, rounds in speeds.items()
    }
    compared = batch * options.new_tokens
    return {
        "batch": batch,
        "compared_tokens": compared,
        "contenders": contenders,
        "ratios": ratios_of(speeds),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table of one shape in one precision."""
    lines = []
    for row in rows:
        for name, one in row["contenders"].items():
            ratio = row["ratios"].get("yxanul", {}).get(name)
            agree = f"{one['agreeing_tokens']} of {row['compared_tokens']}"
            speed = f"{one['tokens_per_second']:,.1f}"
            lines.append([name, str(row["batch"]), speed, spread(ratio), agree])
    title = f"{rows[0]['shape']} {rows[0]['precision']} on {rows[0]['device']}"
    columns = ["", "batch", "tokens/s", "yxanul / this", "tokens that agree"]
    show_table(title, columns, lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__, DECODE_SHAPES, DECODERS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, help="calls a round, instead of --seconds")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=128)
    options = fill_in(parser.parse_args(arguments), DECODE_SHAPES)
    options.precisions = options.precisions or PRECISIONS
    return options


def main() -> int:
    """Run all comparisons."""
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    machine = describe_machine(options.threads)
    for name in options.shapes:
        found: list[dict[str, Any]] = []
        for precision in options.precisions:
            say(f"{name} {precision}: {options.prompt_tokens} + {options.new_tokens} tokens a row")
            rows = compare(name, precision, options)
            show(rows)
            found += rows
        results = {"machine": machine, "rows": found}
        write_results(options.out, f"decode-{name}", options.device, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
