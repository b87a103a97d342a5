"""Training-step benchmark: forward, backward and optimizer of yxanul against its peers.

    make bench-step                                    # installs the peers, runs the CPU's shapes
    python benchmarks/step.py --shapes small --contenders yxanul transformers-sdpa --threads 2

Every contender has the same architecture, start weights, batches, AdamW and precision (bf16 is
matrix products in bf16 over master weights in fp32: autocast for the peers, our own for us), and a
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
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import compare, report
from harness.contenders import figures, ratios_of, repeats_for
from harness.memory import held_bytes, peak_bytes, reset_peak, settle, synchronise
from harness.shapes import STEP_SHAPES, shape_of
from peers import STEP
from peers.ours import count_parameters, flops_per_token, peak

TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}
"""How far first losses may be apart, relative."""
NUM_BATCHES = 4
NUM_ARRAY_BATCHES = 16
"""Batches that steps go through in turn: drawn ones, or the first of an array."""
WARM_STEPS = {False: 2, True: 4}
"""Steps of the warm-up, by whether the contender is compiled."""


class TrainingStep:
    """The step inside a contender's process: the same loop around everybody's model."""

    def __init__(self, job: dict[str, Any]):
        peer, self.device = STEP[job["contender"]], torch.device(job["device"])
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        self.warm_steps, build = WARM_STEPS[peer.compiled], peer.function("step")
        self.tokens = job["tokens"] // job["seq_len"] * job["seq_len"]
        self.batches = [
            tuple(part.contiguous().to(self.device) for part in (rows[:, :-1], rows[:, 1:]))
            for rows in make_batches(job)
        ]
        _load_kernels(self.device)
        settle(self.device)
        self.before_bytes = held_bytes(self.device)
        self.trainee = build(job)
        parameters = list(self.trainee.trained.parameters())
        self.optimizer = torch.optim.AdamW(
            parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
        )
        self.num_steps = 0
        held = {id(p): p.numel() * p.element_size() for p in (*parameters, *self.trainee.copies)}
        self.facts = {
            "parameters": count_parameters(shape_of(job).settings),
            "parameters_with_padding": sum(p.numel() for p in parameters),
            "weight_bytes": sum(held.values()),
        }

    def warm(self, steps: int | None = None) -> dict[str, Any]:
        """Do the warm-up; return the loss of the very first step and the time of the last."""
        losses, seconds = [], 0.0
        for _ in range(steps or self.warm_steps):
            start = time.perf_counter()
            losses.append(float(self._step()))
            synchronise(self.device)
            seconds = time.perf_counter() - start
        return {"first_loss": losses[0], "step_seconds": seconds}

    def memory(self, steps: int = 2) -> dict[str, Any]:
        """Return the peak of some steps, over what is held between steps and over an empty process.

        Between steps are the weights and AdamW's moments, and no gradients.
        """
        settle(self.device)
        between = held_bytes(self.device)
        reset_peak(self.device)
        for _ in range(steps):
            self._step()
        synchronise(self.device)
        most = peak_bytes(self.device)
        return {
            "peak_over_state_bytes": most - between,
            "peak_over_empty_bytes": most - self.before_bytes,
        }

    def round(self, steps: int) -> dict[str, Any]:
        """Time some steps. A GPU's memory is given back, so one untimed step comes first there."""
        if self.device.type == "cuda":
            self._step()
        synchronise(self.device)
        start = time.perf_counter()
        losses = [self._step() for _ in range(steps)]
        synchronise(self.device)
        seconds = time.perf_counter() - start
        loss = float(losses[-1])
        if self.device.type == "cuda":
            settle(self.device)
        return {"tokens_per_second": steps * self.tokens / seconds, "loss": loss}

    def _step(self) -> Tensor:
        ids_BT, targets_BT = self.batches[self.num_steps % len(self.batches)]
        self.num_steps += 1
        loss = self.trainee.loss(ids_BT, targets_BT)
        loss.backward()
        self.trainee.collect()
        self.optimizer.step()
        self.trainee.refresh()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def make_batches(job: Mapping[str, Any]) -> list[Tensor]:
    """Return the same batches of rows for every contender: the first of the job's array, or drawn;
    a row has one token more than the model reads."""
    num_rows = job["tokens"] // job["seq_len"]
    if job.get("array"):
        rows = np.load(job["array"], mmap_mode="r")[: NUM_ARRAY_BATCHES * num_rows]
        return list(torch.from_numpy(rows.astype(np.int64)).split(num_rows))
    generator = torch.Generator().manual_seed(job["seed"])
    size, vocab_size = (num_rows, job["seq_len"] + 1), shape_of(job).settings.known_vocab_size
    return [torch.randint(vocab_size, size, generator=generator) for _ in range(NUM_BATCHES)]


def _load_kernels(device: torch.device) -> None:
    """Do a step of next to nothing, so that libraries loaded on first use count for nobody."""
    layer = torch.nn.Linear(64, 64, device=device)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(64, 64, device=device)).sum().backward()
    optimizer.step()


def compare_steps(name: str, precision: str, options: argparse.Namespace) -> list[compare.Row]:
    """Time one shape in one precision; no row if the contenders do not start at the same loss."""
    shape = STEP_SHAPES[name]
    job = compare.job_of("step", name, precision, options) | {
        "seq_len": options.seq_len or shape.seq_len,
        "tokens": options.tokens or shape.tokens,
    }
    report.say(f"{name} {precision}: {job['tokens']} tokens a step, {job['seq_len']} a row")
    best = peak(options.device, precision)
    with compare.opened("step:TrainingStep", STEP, shape, job, options.contenders) as (
        group,
        built,
    ):
        warm = group.ask("warm")
        first_losses = {one: answer["first_loss"] for one, answer in warm.items()}
        if wrong := disagreements(first_losses, TOLERANCE[precision]):
            report.say("THE CONTENDERS DO NOT START AT THE SAME LOSS:\n" + "\n".join(wrong))
            return []
        memory = group.ask("memory")
        steps = {
            one: options.steps or repeats_for(options.seconds, answer["step_seconds"])
            for one, answer in warm.items()
        }
        rounds = group.rounds(
            options.rounds, lambda one: group.processes[one].ask("round", steps=steps[one])
        )
    speeds = figures(rounds, "tokens_per_second")
    flops = flops_per_token(shape.settings, job["seq_len"]).total
    contenders: dict[str, compare.Row] = {}
    for one, values in speeds.items():
        speed = statistics.median(values)
        contenders[one] = built[one] | warm[one] | memory[one]
        contenders[one] |= {
            "steps_per_round": steps[one],
            "tokens_per_second": round(speed, 1),
            "rounds": [round(value, 1) for value in values],
            "mfu": round(speed * flops / best.flops_per_second, 4),
        }
    row = job | {
        "peak_flops_per_second": best.flops_per_second,
        "peak_source": best.source,
        "flops_per_token": flops,
        "contenders": contenders,
        "ratios": ratios_of(speeds),
        "absent": group.absent,
    }
    show(row)
    return [row]


def disagreements(losses: Mapping[str, float], tolerance: float) -> list[str]:
    """Return a line for each contender whose loss differs from the first one's by too much."""
    first, expected = next(iter(losses.items()), ("", 0.0))
    return [
        f"{name} starts at {loss:.6f}, {first} at {expected:.6f}"
        for name, loss in losses.items()
        if not abs(loss - expected) <= tolerance * abs(expected)
    ]


def show(row: dict[str, Any]) -> None:
    """Print the table of one comparison."""
    ratios = row["ratios"]
    columns = ["", "tokens/s", *(f"{ours} / this" for ours in ratios)]
    columns += ["MiB over state", "over empty", "weights", "MFU", "first loss"]
    sizes = ("peak_over_state_bytes", "peak_over_empty_bytes", "weight_bytes")
    lines = [
        [name, f"{one['tokens_per_second']:,.0f}"]
        + [report.spread(of_ours.get(name)) for of_ours in ratios.values()]
        + [report.mebibytes(one[size]) for size in sizes]
        + [f"{one['mfu']:.1%}", f"{one['first_loss']:.5f}"]
        for name, one in row["contenders"].items()
    ]
    gigaflops = row["peak_flops_per_second"] / 1e9
    title = f"{row['shape']} {row['precision']} on {row['device']}"
    report.show_table(
        f"{title}, peak {gigaflops:,.0f} GFLOP/s ({row['peak_source']})", columns, lines
    )


def main() -> int:
    """Run all comparisons; 1 if one had no result."""
    parser = compare.make_parser(__doc__, STEP, STEP_SHAPES)
    parser.add_argument("--steps", type=int, help="steps a round, instead of --seconds")
    parser.add_argument("--seq-len", type=int, help="default: the shape's")
    parser.add_argument("--tokens", type=int, help="tokens a step; default: the shape's")
    options = report.parse(parser)
    if options.device == "cuda":
        options.precisions = options.precisions or ["bf16"]
    return compare.compare_all("step", STEP_SHAPES, options, compare_steps)


if __name__ == "__main__":
    sys.exit(main())
