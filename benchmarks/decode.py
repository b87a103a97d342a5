"""Generation benchmark: greedy decoding of yxanul against `transformers`, with its two caches.

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
import time
from collections.abc import Sequence
from typing import Any

import torch

from harness import compare, report
from harness.contenders import Contenders, figures, ratios_of, repeats_for
from harness.memory import synchronise
from harness.shapes import DECODE_SHAPES, shape_of
from peers import DECODE


class Decoding:
    """Generation inside a contender's process."""

    def __init__(self, job: dict[str, Any]):
        self.job, self.device = job, torch.device(job["device"])
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        self.generate = DECODE[job["contender"]].function("decode")(job)
        self.facts: dict[str, Any] = {}

    def warm(self, batch: int) -> dict[str, Any]:
        """Generate twice; return the new tokens and the time of the second go."""
        self._timed(batch)
        ids, seconds = self._timed(batch)
        return {"ids": ids, "seconds": seconds}

    def round(self, batch: int, repeats: int) -> dict[str, Any]:
        """Time some goes."""
        seconds = sum(self._timed(batch)[1] for _ in range(repeats))
        return {"tokens_per_second": repeats * batch * self.job["new_tokens"] / seconds}

    def _timed(self, batch: int) -> tuple[list[list[int]], float]:
        generator = torch.Generator().manual_seed(self.job["seed"])
        size, new = (batch, self.job["prompt_tokens"]), self.job["new_tokens"]
        vocab_size = shape_of(self.job).settings.known_vocab_size
        prompts = torch.randint(vocab_size, size, generator=generator).tolist()
        start = time.perf_counter()
        ids = self.generate(prompts, new)
        synchronise(self.device)
        seconds = time.perf_counter() - start
        assert [len(row) for row in ids] == [new] * batch, "wrong number of tokens"
        return ids, seconds


def compare_decoding(name: str, precision: str, options: argparse.Namespace) -> list[compare.Row]:
    """Time one shape in one precision, batch size by batch size."""
    shape, job = DECODE_SHAPES[name], compare.job_of("decode", name, precision, options)
    job |= {"prompt_tokens": options.prompt_tokens, "new_tokens": options.new_tokens}
    report.say(f"{name} {precision}: {options.prompt_tokens} + {options.new_tokens} tokens a row")
    with compare.opened("decode:Decoding", DECODE, shape, job, options.contenders) as (group, _):
        rows = [job | measure(group, batch, options) for batch in options.batches]
        rows = [row | {"absent": group.absent} for row in rows]
    show(rows)
    return rows


def measure(group: Contenders, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the rounds of one batch size."""
    warm = group.ask("warm", batch=batch)
    repeats = {
        name: options.repeats or repeats_for(options.seconds, answer["seconds"], least=1)
        for name, answer in warm.items()
    }
    rounds = group.rounds(
        options.rounds,
        lambda name: group.processes[name].ask("round", batch=batch, repeats=repeats[name]),
    )
    speeds = figures(rounds, "tokens_per_second")
    expected = next(iter(warm.values()), {"ids": []})["ids"]
    contenders = {
        name: {
            "tokens_per_second": round(statistics.median(values), 2),
            "rounds": [round(value, 2) for value in values],
            "repeats_per_round": repeats[name],
            "agreeing_tokens": agreeing(expected, warm[name]["ids"]),
        }
        for name, values in speeds.items()
    }
    return {
        "batch": batch,
        "compared_tokens": batch * options.new_tokens,
        "contenders": contenders,
        "ratios": ratios_of(speeds),
    }


def agreeing(expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> int:
    """Return how many tokens of all rows agree before the first one of the row that differs."""
    total = 0
    for one, other in zip(expected, found, strict=True):
        differ = (n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        total += next(differ, len(one))
    return total


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table of one shape in one precision."""
    lines = [
        [
            name,
            str(row["batch"]),
            f"{one['tokens_per_second']:,.1f}",
            report.spread(row["ratios"].get("yxanul", {}).get(name)),
            f"{one['agreeing_tokens']} of {row['compared_tokens']}",
        ]
        for row in rows
        for name, one in row["contenders"].items()
    ]
    title = f"{rows[0]['shape']} {rows[0]['precision']} on {rows[0]['device']}"
    columns = ["", "batch", "tokens/s", "yxanul / this", "tokens that agree"]
    report.show_table(title, columns, lines)


def main() -> int:
    """Run all comparisons."""
    parser = compare.make_parser(__doc__, DECODE, DECODE_SHAPES)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, help="calls a round, instead of --seconds")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=128)
    return compare.compare_all("decode", DECODE_SHAPES, report.parse(parser), compare_decoding)


if __name__ == "__main__":
    sys.exit(main())
