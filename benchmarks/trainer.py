"""Whole-trainer benchmark: against its own bare step, against other trainers, its start, its saves.

    make bench-trainer                              # installs the peers; about an hour on two cores
    python benchmarks/trainer.py --parts A C D --threads 2
    python benchmarks/trainer.py --parts B --contenders yxanul litgpt --precisions bf16

A. The trainer's tokens a second, all that lies between two steps included (text from the shards,
   metrics.jsonl, checkpoints at the default cadence), over those of the step of step.py: the same
   model, batches, AdamW, precision and threads. Rounds go A B B A; all of them together are by
   default as long as it is from one checkpoint to the next, so that there is one. No evaluation.
   What only the trainer does (to clip, to look for outliers of the loss) counts against it.
B. Seconds from the command to the end of the process, beside the `transformers` Trainer and
   litgpt's pretrain, on the same tokens in the same order, each from start weights of its own and
   with a checkpoint at its end that holds the optimizer's state. Ours include three scorings of a
   few thousand held-out tokens, a sample and the comparison with xz; litgpt's two held-out batches.
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
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import report
from harness.contenders import Contenders, figures, ratio, ratios_of, run_whole
from harness.process import ContenderFailed, environment, run_command
from harness.shapes import STEP_SHAPES, Shape
from harness.texts import Dataset, jsonl_source, prepare, recipe_of, write_corpus
from peers import TRAINER as RACERS
from peers import Peer
from peers.ours import write_weights
from peers.ours_data import write_rows
from peers.ours_trainer import DEFAULT_CADENCE, trainer

PARTS = ("A", "B", "C", "D")
TRAINER, BARE = "yxanul-trainer", "bare-step"
CALLS = {TRAINER: "peers.ours_trainer:Training", BARE: "step:TrainingStep"}
INSIDE = {name: Peer("ours_trainer") for name in CALLS}
STEPS = {"A": 250, "B": 200}
"""Steps of a round, and of a race."""
WARM_STEPS = 3
CADENCES = (DEFAULT_CADENCE, 100)
PEAK_RATE = 1e-3
SOURCE = "text"
HELD_OUT_BYTES = 16_000
"""Text that our gate scores; the peers score none."""
IMPORTS = """
import json, time
start = time.perf_counter(); import yxanul.cli.app, yxanul.cli.train
command = time.perf_counter(); import torch
loaded = time.perf_counter(); import yxanul.stages.runner, yxanul.cli.output
end = time.perf_counter()
print(json.dumps({"command": command - start, "torch": loaded - command, "ours": end - loaded}))
"""
OURS = ("first_step_seconds", "in_steps_seconds", "checkpoint_seconds", "rest_seconds")
"""What the seconds of our trainings are made of."""
WANTED = {
    "trainer / bare step": ("at least", 0.97),
    "seconds / transformers": ("at most", 0.75),
    "seconds / litgpt": ("at most", 0.75),
    "seconds to the first step": ("below", 8.0),
    "share held by checkpoints at the default cadence": ("below", 0.02),
}
"""What the project asks of itself."""
Row = dict[str, Any]


class Bench:
    """One shape: its text, its folder, and the four parts."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path):
        self.name, self.shape, self.options, self.folder = name, STEP_SHAPES[name], options, folder
        num_bytes, corpus = int(options.megabytes * 1e6), folder / "corpus"
        self.made = write_corpus(corpus, num_bytes, 1, options.shared, options.seed)
        recipe = trainer_recipe(self.shape, corpus, num_bytes, options.seed)
        self.ready = prepare(folder, recipe)
        self.weights, self.rows = folder / "weights", folder / "rows.npy"
        write_weights(self.shape, self.weights, options.seed)
        write_rows(self.ready.recipe, [], max(options.steps or STEPS["B"], WARM_STEPS), self.rows)

    def part_a(self, precision: str) -> Row:
        """The trainer and the bare step, A B B A."""
        steps = self.options.steps or STEPS["A"]
        absent, warm, rounds = self._inside([TRAINER, BARE], precision, steps, CADENCES[0])
        row = {
            "steps_per_round": steps,
            "first_loss": {name: one["first_loss"] for name, one in warm.items()},
            "checkpoints": sum(len(one["holds"]) for one in rounds.get(TRAINER, ())),
            "absent": absent,
        }
        return row if absent else row | efficiency(rounds)

    def part_b(self, precision: str) -> Row:
        """Whole processes, A B B A."""
        steps, group = self.options.steps or STEPS["B"], Contenders(RACERS, self.options.contenders)
        group.each(lambda name: self._race(name, precision, WARM_STEPS))
        runs = group.rounds(self.options.races, lambda name: self._race(name, precision, steps))
        return {
            "steps": steps,
            "absent": group.absent,
            "runs": runs,
            "ratios": ratios_of(figures(runs, "seconds")),
        }

    def part_c(self, precision: str) -> Row:
        """Some starts, each of one step."""
        starts, count = [], self.options.starts
        for _ in range(count + 1):
            with self._new_run() as run:
                job = self._job(run, precision, 1) | {"cache": str(self.folder / "cold-cache")}
                starts.append(trainer(job)["start_seconds"])
        env = environment(self.options.threads, self.folder / "cold-cache")
        imports = [run_command([sys.executable, "-c", IMPORTS], env) for _ in range(count)]
        return {
            "starts": count,
            "first_ever": split_of(starts[:1]),
            "later": split_of(starts[1:]),
            "imports": split_of([json.loads(one.printed) for one in imports]),
        }

    def part_d(self, precision: str) -> Row:
        """Checkpoints at a cadence so dense that each round begins with one."""
        steps = max(4, self.options.hold_steps)
        absent, warm, rounds = self._inside([TRAINER], precision, steps, steps)
        if absent:
            return {"absent": absent}
        found = {"parameters": warm[TRAINER]["parameters"]} | hold_of(rounds[TRAINER])
        shares = [share_held(found, cadence) for cadence in CADENCES]
        at = {"shares": shares, "tokens_per_step": self.shape.tokens}
        return {"absent": absent} | found | at

    def _inside(
        self, names: list[str], precision: str, steps: int, every_steps: int
    ) -> tuple[dict[str, str], dict[str, Row], dict[str, list[Row]]]:
        """Run rounds of the trainer from the inside, and of what it is compared with; return who is
        absent, what each says of itself and of its warm-up, and the rounds.

        The warm-up ends one step before a checkpoint that is due after `steps`.
        """
        count, warm_steps = self.options.rounds, (steps - 1) if every_steps == steps else WARM_STEPS
        total = warm_steps + count * steps + 2
        with self._new_run() as run, Contenders(INSIDE, names) as group:
            cadence = f"train.checkpoint.every_steps={every_steps}"
            job = self._job(run, precision, total, cadence) | {
                "work": "step",
                "contender": "yxanul",  # whose step is the bare one
                "shape": self.name,
                "device": "cpu",
                "tokens": self.shape.tokens,
            }
            built = group.each(lambda name: group.open(name, CALLS[name], job))
            warm = group.ask("warm", steps=warm_steps)
            rounds = group.rounds(
                count, lambda name: group.processes[name].ask("round", steps=steps)
            )
        return group.absent, {name: built[name] | warm[name] for name in warm}, rounds

    def _race(self, name: str, precision: str, steps: int) -> Row:
        """Train in a process of its own from its start to its end; return its facts."""
        peer = RACERS[name]
        with self._new_run() as run:
            job = self._job(run, precision, steps)
            if name.startswith("yxanul"):
                facts = peer.function("trainer")(job)
                del facts["first_loss"]
            else:
                env = environment(self.options.threads, self.folder / "cache")
                facts = run_whole(peer, "trainer", job, env)
                facts = {"seconds": facts.pop("process_seconds")} | facts
                del facts["peak_bytes"]
        if facts["tokens"] != steps * self.shape.tokens:
            raise ContenderFailed(f"it has trained on {facts['tokens']} tokens")
        report.say(f"{precision}, {name}, {steps} steps: {facts['seconds']:.1f} s")
        return facts

    def _job(self, run: Path, precision: str, steps: int, *overrides: str) -> Row:
        """Return what everybody is told: ours have a recipe and shards, the peers an array."""
        budget = f"stages.0.budget={{steps: {steps}}}"
        return {
            "recipe": str(self.ready.recipe),
            "run": str(run),
            "overrides": [budget, f"train.precision={precision}", *overrides],
            "weights": str(self.weights),
            "array": str(self.rows),
            "rows": self.shape.tokens // self.shape.seq_len,
            "seq_len": self.shape.seq_len,
            "steps": steps,
            "precision": precision,
            "rate": PEAK_RATE,
            "seed": self.options.seed,
            "threads": self.options.threads,
            "cache": str(self.folder / "cache"),
            "out": str(run / "out"),
            "launched": time.time(),
        }

    @contextmanager
    def _new_run(self) -> Iterator[Path]:
        """Give a run folder in which nothing is trained; it is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as run:
            yield self.ready.new_run(Path(run))


def trainer_recipe(shape: Shape, corpus: Path, num_bytes: int, seed: int) -> Row:
    """Return the recipe: what the package starts from, with AdamW and the text of a corpus."""
    held_out = min(HELD_OUT_BYTES / num_bytes, 0.2)
    sources = {SOURCE: jsonl_source(corpus)}
    dataset = Dataset(lambda *_: sources, {SOURCE: 1}, held_out)
    optim = {"name": "adamw", "peak_lr": PEAK_RATE}
    return recipe_of(shape, dataset, sources, corpus.parent, optim=optim, seed=seed)


def efficiency(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> Row:
    """Compare the trainer's tokens a second with the bare step's, round by round and overall.

    Overall is tokens over seconds of all rounds together: a checkpoint counts as often as it came.
    """
    speeds = figures(rounds, "tokens_per_second")
    totals = {name: statistics.harmonic_mean(values) for name, values in speeds.items()}
    return {
        "tokens_per_second": {name: round(value, 1) for name, value in totals.items()},
        "rounds": {name: [round(value, 1) for value in one] for name, one in speeds.items()},
        "ratios": {BARE: ratio(speeds[TRAINER], speeds[BARE])},
        "overall": {BARE: round(totals[TRAINER] / totals[BARE], 4)},
    }


def split_of(starts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each part of several starts, and of their totals."""
    parts = {name: statistics.median(one.get(name, 0.0) for one in starts) for name in starts[0]}
    totals = [sum(one.values()) for one in starts]
    whole = {"total": statistics.median(totals), "least": min(totals), "most": max(totals)}
    return {name: round(value, 3) for name, value in {**parts, **whole}.items()}


def hold_of(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what one checkpoint costs, from rounds that begin with one each.

    `hold_seconds` is what the training waits for it; `slowed_seconds`, what the steps of its round
    take beyond the usual while it is written beside them: usual is the later half of a round, when
    it is written. The first one is apart: it also gets the memory for the copy.
    """
    later_halves = (one["steps"][len(one["steps"]) // 2 :] for one in rounds)
    usual = statistics.median(itertools.chain.from_iterable(later_halves))
    slowed = [sum(one["steps"]) - len(one["steps"]) * usual - sum(one["holds"]) for one in rounds]
    holds = [hold for one in rounds for hold in one["holds"]]
    later = holds[1:] or holds
    return {
        "step_seconds": round(usual, 4),
        "checkpoints": len(holds),
        "first_hold_seconds": round(holds[0], 4),
        "hold_seconds": round(statistics.median(later), 4),
        "longest_hold_seconds": round(max(later), 4),
        "slowed_seconds": round(statistics.median(slowed[1:] or slowed), 4),
    }


def share_held(found: Mapping[str, float], every_steps: int) -> dict[str, float]:
    """Return the share of the wall time that goes into checkpoints at a cadence: what the training
    waits, and with what it is slowed besides."""
    held, slowed = found["hold_seconds"], max(found["slowed_seconds"], 0.0)
    usual = every_steps * found["step_seconds"]
    return {
        "every_steps": every_steps,
        "held": round(held / (usual + held), 6),
        "held_and_slowed": round((held + slowed) / (usual + held + slowed), 6),
    }


def judge(found: Mapping[str, Any]) -> dict[str, Row]:
    """Return the figures that are asked for, of each shape and precision, beside what is asked."""
    judged: dict[str, Row] = {}
    for row in itertools.chain.from_iterable(found.get(part, ()) for part in PARTS):
        for name, measured in asked_of(row).items():
            if name in WANTED:
                key = f"{name}, {row['shape']} {row['precision']}"
                judged[key] = report.judge(measured, WANTED[name])
    return judged


def asked_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of one part's row by the names they have in what is asked."""
    ratios = row.get("ratios", {})
    found = {"trainer / bare step": ratios[BARE]["median"]} if BARE in ratios else {}
    for name, one in ratios.get("yxanul", {}).items():
        found[f"seconds / {name}"] = one["median"]
    if "later" in row:
        found["seconds to the first step"] = row["later"]["total"]
    if "shares" in row:
        found["share held by checkpoints at the default cadence"] = row["shares"][0]["held"]
    return found


def show(part: str, row: Row) -> None:
    """Print one part in one precision."""
    title = f"{part}. {row['shape']} {row['precision']}"
    if part == "A" and not row["absent"]:
        columns = ["", "tokens/s", "trainer / this", "overall", "first loss"]
        lines = [
            [name, f"{speed:,.0f}", report.spread(row["ratios"].get(name)),
             f"{row['overall'].get(name, 1):.4f}", f"{row['first_loss'][name]:.4f}"]
            for name, speed in row["tokens_per_second"].items()
        ]  # fmt: skip
        report.show_table(f"{title}, {row['checkpoints']} checkpoint(s) in it", columns, lines)
    elif part == "B":
        columns = ["", "seconds", "first step", "mean loss"]
        columns += [f"{ours} / this" for ours in row["ratios"]]
        lines = [
            [name, ", ".join(f"{one['seconds']:.1f}" for one in runs),
             f"{min(one['first_step_seconds'] for one in runs):.1f}", f"{runs[0]['mean_loss']:.3f}",
             *(report.spread(of_ours.get(name)) for of_ours in row["ratios"].values())]
            for name, runs in row["runs"].items()
        ]  # fmt: skip
        report.show_table(f"{title}, {row['steps']} steps", columns, lines)
        for name in row["ratios"]:
            told = row["runs"][name][-1]
            split = {key: round(told[key], 2) for key in OURS}
            report.say(f"{name}: {split}, {told['held_out_tokens']:,} held-out tokens")
    else:
        report.say(f"{title}: {row}")


def measure(options: argparse.Namespace, folder: Path) -> Row:
    """Run the parts; return their rows."""
    found: dict[str, Any] = {part: [] for part in options.parts} | {"texts": {}}
    large = [options.large] if "D" in options.parts and options.large not in options.shape else []
    for name in [*options.shape, *large]:
        bench = Bench(name, options, folder / name)
        found["texts"][name] = bench.made
        parts = {"A": bench.part_a, "B": bench.part_b, "C": bench.part_c, "D": bench.part_d}
        for part in options.parts if name in options.shape else "D":
            # Starts and checkpoints are measured in the last precision alone.
            for precision in options.precisions if part in "AB" else options.precisions[-1:]:
                report.say(f"{part}: {name} {precision}")
                row = {"shape": name, "precision": precision} | parts[part](precision)
                show(part, row)
                found[part].append(row)
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    report.add_contenders(parser, RACERS, rounds=4)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--shape", nargs="+", choices=STEP_SHAPES, default=["micro"], metavar="NAME")
    add("--large", choices=STEP_SHAPES, default="51m", metavar="NAME", help="also for part D")
    add("--precisions", nargs="+", choices=report.PRECISIONS, default=report.PRECISIONS)
    add("--steps", type=int, help="of a round of A (250) and of a race of B (200)")
    add("--races", type=int, default=2, help="of each contender of B; --rounds is of A and D")
    add("--starts", type=int, default=5, help="of C, after the first")
    add("--hold-steps", type=int, default=16, help="between two checkpoints that D measures")
    add("--megabytes", type=float, default=12.0, help="of text")
    add(
        "--shared",
        type=Path,
        default=report.SHARED,
        help="folder of the shared texts, if there is one",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run what is asked for; 1 if a part has no result."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    judged = judge(found)
    for name, one in judged.items():
        met = "met" if one["met"] else "NOT MET"
        report.say(f"{name}: {one['found']} ({one['wanted']}: {met})")
    report.write_results(options, "trainer", {"judged": judged} | found)
    return int(any(row.get("absent") for part in "AD" for row in found.get(part, ())))


if __name__ == "__main__":
    sys.exit(main())
