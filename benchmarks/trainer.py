"""Time the whole trainer: against its own bare step, against other trainers, its start, its saves.

    make bench-trainer                              # installs the peers; about an hour on two cores
    python benchmarks/trainer.py --parts A C D --threads 2
    python benchmarks/trainer.py --parts B --contenders yxanul litgpt --precisions bf16

A. The trainer's tokens a second, everything between two steps included (text from the shards,
   metrics.jsonl, checkpoints at the default cadence), over those of the step of step.py: one model,
   one batch size, AdamW, one precision. Rounds go A B B A; as many steps by default as there are
   between two checkpoints, so that one of them is in there. Evaluation is off.
B. Seconds from the command to the end of the process for some steps, beside the `transformers`
   Trainer and litgpt's pretrain, on the same tokens in the same order. Ours includes three scorings
   of a few thousand held-out tokens, a sample and the comparison with xz; of the peers, litgpt looks
   at two batches. A run of a few steps comes first, untimed, so that whatever is compiled or
   measured once for a machine is there: the peers gain most by it.
C. Seconds from the command to the end of the first step, and where they went. The first start has
   an empty cache folder and is apart.
D. What a checkpoint in the background costs: how long the training waits, and how much slower steps
   are while it is written; over the steps between two checkpoints. No steps are run that would tell
   nothing new: one checkpoint is measured, and divided by the steps at the cadence.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.group import Group
from harness.options import PRECISIONS
from harness.process import ContenderFailed
from harness.report import RESULTS, describe_machine, say, show_table, spread, write_results
from harness.rounds import alternating
from harness.shapes import STEP_SHAPES
from harness.trainers.figures import efficiency, hold_of, share_held, split_of, time_ratios
from harness.trainers.inside import BARE, TRAINER
from harness.trainers.race import RACERS, Race, timed_process, train_command
from harness.trainers.texts import Ready, make_ready, write_rows
from harness.weights import write_weights
from peers import Peer

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CADENCES = (1000, 100)
"""Steps between two checkpoints; the first is the default."""
STEPS = {"A": 250, "B": 200, "D": 24}
"""Steps of a round, of a race, and between two checkpoints that are measured."""
WARM_STEPS = 3
PASS = {TRAINER: Peer("harness.trainers.inside"), BARE: Peer("harness.trainers.inside")}
WANTED = {
    "A: trainer / bare step": ("at least", 0.97),
    "B: seconds / transformers": ("at most", 0.75),
    "B: seconds / litgpt": ("at most", 0.75),
    "C: seconds to the first step": ("below", 8.0),
    "D: share held at the default cadence": ("below", 0.02),
}
"""What the project asks of itself."""
IMPORTS = """
import json, time
start = time.perf_counter(); import yxanul.cli.app, yxanul.cli.train
command = time.perf_counter(); import torch
torch_done = time.perf_counter(); import yxanul.stages.whole, yxanul.cli.output
end = time.perf_counter()
laps = {"command": command - start, "torch": torch_done - command, "ours": end - torch_done}
print(json.dumps(laps))
"""


class Bench:
    """One shape: its text, its folder, and the four parts."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path):
        self.name, self.shape, self.options, self.folder = name, STEP_SHAPES[name], options, folder
        num_bytes = int(options.megabytes * 1e6)
        self.ready: Ready = make_ready(self.shape, folder, num_bytes, options.shared, options.seed)
        self.weights, self.rows = folder / "weights", folder / "rows.npy"
        write_weights(self.shape, self.weights, options.seed)
        write_rows(self.ready, max(options.steps or STEPS["B"], WARM_STEPS), self.rows)
        self.cache = folder / "cache"
        self.runs = 0

    def part_a(self, precision: str) -> dict[str, Any]:
        """The trainer and the bare step, A B B A."""
        steps, rounds = self.options.steps or STEPS["A"], self.options.rounds
        job = self._job(precision, rounds * steps + WARM_STEPS + 1, CADENCES[0])
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in PASS}
        with Group() as group:
            group.start(PASS, list(PASS), self.shape, job)
            first = group.ask_all("warm")
            for _, name in alternating(list(group.contenders), rounds):
                if answer := group.ask(name, "round", steps=steps):
                    found[name].append(answer)
            absent = dict(group.absent)
        row = {"shape": self.name, "precision": precision, "steps_per_round": steps}
        row |= {"first_loss": {name: one["first_loss"] for name, one in first.items()}}
        row |= {"checkpoints": sum(len(one["holds"]) for one in found[TRAINER]), "absent": absent}
        return row if absent else row | efficiency(found, TRAINER)

    def part_b(self, precision: str) -> dict[str, Any]:
        """Whole processes, A B B A."""
        race = Race(
            self.ready, self.rows, precision, self.options.steps or STEPS["B"],
            self.options.threads, self.options.seed, self.cache,
        )  # fmt: skip
        absent = {}
        for name in self.options.contenders:
            reason = RACERS[name].why_not() or self._failure(name, replace(race, steps=WARM_STEPS))
            if reason:
                absent[name] = reason
                say(f"{name} is out: {reason.splitlines()[0]}")
        left = [name for name in self.options.contenders if name not in absent]
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in left}
        for number, name in alternating(left, self.options.races):
            facts = RACERS[name].run(race, self._new_folder(), RACERS[name].options)
            assert facts["tokens"] == race.tokens, f"{name} has trained on {facts['tokens']} tokens"
            found[name].append(facts)
            say(f"race {number + 1}, {precision}, {name}: {facts['seconds']:.1f} s")
        row = {"shape": self.name, "precision": precision, "steps": race.steps, "absent": absent}
        return row | {"runs": found, "ratios": time_ratios(found)}

    def part_c(self, precision: str) -> dict[str, Any]:
        """Some starts, each of one step."""
        cache = self.folder / "cold-cache"
        race = Race(
            self.ready, self.rows, precision, 1, self.options.threads, self.options.seed, cache
        )
        starts, imports = [], []
        for _ in range(self.options.starts + 1):
            run = self.ready.new_run(self._new_folder())
            command = train_command(self.ready, run, 1, f"train.precision={precision}")
            starts.append(json.loads(timed_process(command, race)[1])["start_seconds"])
        for _ in range(self.options.starts):
            imports.append(json.loads(timed_process([sys.executable, "-c", IMPORTS], race)[1]))
        return {
            "shape": self.name,
            "precision": precision,
            "starts": self.options.starts,
            "first_ever": split_of(starts[:1]),
            "later": split_of(starts[1:]),
            "imports": split_of(imports),
        }

    def part_d(self, precision: str) -> dict[str, Any]:
        """Checkpoints at a cadence so dense that each round begins with one."""
        steps, rounds = max(4, self.options.hold_steps), self.options.rounds
        job = self._job(precision, (rounds + 1) * steps + 1, steps)
        with Group() as group:
            group.start(PASS, [TRAINER], self.shape, job)
            group.ask(TRAINER, "warm", steps=steps - 1)
            answers = [group.ask(TRAINER, "round", steps=steps) for _ in range(rounds)]
            absent, built = dict(group.absent), [one.built for one in group.contenders.values()]
        row = {"shape": self.name, "precision": precision, "absent": absent}
        if absent:
            return row
        found = hold_of([answer for answer in answers if answer])
        shares = [share_held(found, cadence) for cadence in CADENCES]
        return row | built[0] | found | {"shares": shares, "tokens_per_step": self.shape.tokens}

    def _failure(self, name: str, race: Race) -> str | None:
        """Run a contender for a few steps; return what went wrong."""
        try:
            RACERS[name].run(race, self._new_folder(), RACERS[name].options)
        except ContenderFailed as error:
            return str(error)
        return None

    def _job(self, precision: str, steps: int, every_steps: int) -> dict[str, Any]:
        run = self.ready.new_run(self._new_folder())
        overrides = [
            f"train.precision={precision}",
            f"stages.0.budget={{steps: {steps}}}",
            f"train.checkpoint.every_steps={every_steps}",
        ]
        return {
            "work": "train",
            "shape": self.name,
            "precision": precision,
            "device": "cpu",
            "seq_len": self.shape.seq_len,
            "tokens": self.shape.tokens,
            "threads": self.options.threads,
            "seed": self.options.seed,
            "weights": str(self.weights),
            "rows": str(self.rows),
            "recipe": str(self.ready.recipe),
            "run": str(run),
            "overrides": overrides,
        }

    def _new_folder(self) -> Path:
        self.runs += 1
        return self.folder / "runs" / str(self.runs)
