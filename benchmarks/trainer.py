"""Time the whole trainer: against its own bare step, against other trainers, its start, its saves.

    make bench-trainer                              # installs the peers; about an hour on two cores
    python benchmarks/trainer.py --parts A C D --threads 2
    python benchmarks/trainer.py --parts B --contenders yxanul litgpt --precisions bf16

A. The trainer's tokens a second, all that lies between two steps included (text from the shards,
   metrics.jsonl, checkpoints at the default cadence), over those of the step of step.py: the same
   model, batches, AdamW, precision and threads. Rounds go A B B A; all of them together are by
   default as long as it is from one checkpoint to the next, so that there is one. No evaluation.
   What only the trainer does (to clip, to look for outliers of the loss) counts against it.
B. Seconds from the command to the end of the process, beside the `transformers` Trainer and
   litgpt's pretrain, on the same tokens in the same order. Ours include three scorings of a few
   thousand held-out tokens, a sample and the comparison with xz; litgpt's two held-out batches.
   Everybody first makes a run of a few steps that does not count: what is compiled or measured once
   on a machine is there by then, of which those gain most that compile.
C. Seconds from the command to the end of the first step, and where they went. The first start, with
   an empty cache folder, is apart. Then the import time of all that `yxanul train` needs.
D. What a checkpoint in the background costs: for how long the training waits, and how much slower
   the steps are beside which it is written. One checkpoint's cost is measured (a median over some)
   and set against the steps that lie between two of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.options import PRECISIONS
from harness.report import RESULTS, describe_machine, say, show_table, spread, write_results
from harness.shapes import STEP_SHAPES
from harness.trainers.figures import judge
from harness.trainers.parts import Bench
from harness.trainers.race import RACERS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PARTS = ("A", "B", "C", "D")
OURS = ("first_step_seconds", "in_steps_seconds", "checkpoint_seconds", "rest_seconds")
"""What the seconds of our trainings are made of."""


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the parts; return their rows."""
    found: dict[str, Any] = {part: [] for part in options.parts}
    large = [options.large] if "D" in options.parts and options.large not in options.shape else []
    for name in [*options.shape, *large]:
        bench = Bench(name, options, folder / name)
        found.setdefault("texts", {})[name] = bench.ready.made
        for part in options.parts:
            if name in options.shape or part == "D":
                found[part] += [row(bench, part, one) for one in precisions(part, options)]
    return found


def row(bench: Bench, part: str, precision: str) -> dict[str, Any]:
    """Do one part in one precision, and show it."""
    say(f"{part}: {bench.name} {precision}")
    found = {"A": bench.part_a, "B": bench.part_b, "C": bench.part_c, "D": bench.part_d}
    done = found[part](precision)
    SHOW[part](done)
    return done


def precisions(part: str, options: argparse.Namespace) -> list[str]:
    """Return those in which a part is measured: starts and checkpoints in the last one alone."""
    return options.precisions if part in "AB" else options.precisions[-1:]


def show_a(row: dict[str, Any]) -> None:
    """Print the trainer beside the bare step."""
    if row["absent"]:
        return
    columns = ["", "tokens/s", "trainer / this", "overall", "first loss"]
    lines = [
        [name, f"{speed:,.0f}", spread(row["ratios"].get(name)),
         f"{row['overall'].get(name, 1):.4f}", f"{row['first_loss'][name]:.4f}"]
        for name, speed in row["tokens_per_second"].items()
    ]  # fmt: skip
    show_table(f"A. {title(row)}, {row['checkpoints']} checkpoint(s) in it", columns, lines)


def show_b(row: dict[str, Any]) -> None:
    """Print the seconds of all."""
    columns = ["", "seconds", "first step", *(f"{ours} / this" for ours in row["ratios"])]
    lines = [
        [name, ", ".join(f"{one['seconds']:.1f}" for one in runs)]
        + [f"{min(one['first_step_seconds'] for one in runs):.1f}"]
        + [spread(of_ours.get(name)) for of_ours in row["ratios"].values()]
        + [f"{runs[0]['mean_loss']:.3f}"]
        for name, runs in row["runs"].items()
    ]
    show_table(f"B. {title(row)}, {row['steps']} steps", [*columns, "mean loss"], lines)
    for name in row["ratios"]:
        told = row["runs"][name][-1]
        split = {key: round(told[key], 2) for key in OURS}
        say(f"{name}: {split}, {told['held_out_tokens']:,} held-out tokens")


def show_c(row: dict[str, Any]) -> None:
    """Print where the time to the first step goes."""
    for name in ("first_ever", "later", "imports"):
        say(f"C. {title(row)}, {name}: {row[name]}")


def show_d(row: dict[str, Any]) -> None:
    """Print what a checkpoint costs."""
    say(f"D. {title(row)}: {row}")


SHOW = {"A": show_a, "B": show_b, "C": show_c, "D": show_d}


def title(row: dict[str, Any]) -> str:
    """Return what a row is about."""
    return f"{row['shape']} {row['precision']}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--shape", nargs="+", choices=STEP_SHAPES, default=["micro"], metavar="NAME")
    add("--large", choices=STEP_SHAPES, default="51m", metavar="NAME", help="also for part D")
    add("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    add("--contenders", nargs="+", choices=RACERS, default=list(RACERS), metavar="NAME")
    add("--steps", type=int, help="of a round of A (250) and of a race of B (200)")
    add("--rounds", type=int, default=4, help="of A and D")
    add("--races", type=int, default=2, help="of each contender of B")
    add("--starts", type=int, default=5, help="of C, after the first")
    add("--hold-steps", type=int, default=16, help="between two checkpoints that D measures")
    add("--threads", type=int, help="of everybody; default: all cores")
    add("--megabytes", type=float, default=12.0, help="of text")
    add("--seed", type=int, default=0)
    add("--shared", type=Path, default=SHARED, help="folder of the shared texts, if there is one")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args(arguments)


def main() -> int:
    """Run what is asked for; 1 if a part has no result."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    judged = judge(found)
    for name, one in judged.items():
        say(f"{name}: {one['measured']} ({one['wanted']})")
    settings = {key: str(value) for key, value in vars(options).items()}
    machine = {"machine": describe_machine(options.threads), "options": settings}
    write_results(options.out, "trainer", "cpu", machine | {"judged": judged} | found)
    return int(any(row.get("absent") for part in "AD" for row in found.get(part, ())))


if __name__ == "__main__":
    sys.exit(main())
