"""The four parts of the benchmark of whole trainers, for one shape."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.group import Group
from harness.process import ContenderFailed
from harness.report import say
from harness.rounds import alternating
from harness.shapes import STEP_SHAPES
from harness.trainers.figures import (
    BARE,
    TRAINER,
    efficiency,
    hold_of,
    share_held,
    split_of,
    time_ratios,
)
from harness.trainers.race import RACERS, Race, timed_process, train_command
from harness.trainers.texts import Ready, make_ready, write_rows
from harness.weights import write_weights
from peers import Peer
from yxanul.checkpoint.config import CheckpointSettings

CADENCES = (CheckpointSettings().every_steps or 1000, 100)
"""Steps between two checkpoints; the first is the default."""
STEPS = {"A": 250, "B": 200}
"""Steps of a round, and of a race."""
WARM_STEPS = 3
PASS = {name: Peer("harness.trainers.inside") for name in (TRAINER, BARE)}
IMPORTS = """
import json, time
start = time.perf_counter(); import yxanul.cli.app, yxanul.cli.train
command = time.perf_counter(); import torch
loaded = time.perf_counter(); import yxanul.stages.whole, yxanul.cli.output
end = time.perf_counter()
print(json.dumps({"command": command - start, "torch": loaded - command, "ours": end - loaded}))
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
        self._numbers = itertools.count()

    def part_a(self, precision: str) -> dict[str, Any]:
        """The trainer and the bare step, A B B A."""
        steps, rounds = self.options.steps or STEPS["A"], self.options.rounds
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in PASS}
        with self._new_folder() as folder, Group() as group:
            job = self._job(folder, precision, rounds * steps + WARM_STEPS + 1, CADENCES[0])
            group.start(PASS, list(PASS), self.shape, job)
            first = group.ask_all("warm")
            for _, name in alternating(list(group.contenders), rounds):
                if answer := group.ask(name, "round", steps=steps):
                    found[name].append(answer)
            absent = dict(group.absent)
        row = {"shape": self.name, "precision": precision, "steps_per_round": steps}
        row |= {"first_loss": {name: one["first_loss"] for name, one in first.items()}}
        row |= {"checkpoints": sum(len(one["holds"]) for one in found[TRAINER]), "absent": absent}
        return row if absent else row | efficiency(found)

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
                say(f"{name} is out: {reason.splitlines()[-1]}")
        left = [name for name in self.options.contenders if name not in absent]
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in left}
        for number, name in alternating(left, self.options.races):
            facts = self._run(name, race)
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
            with self._new_folder() as folder:
                run = self.ready.new_run(folder)
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
        with self._new_folder() as folder, Group() as group:
            job = self._job(folder, precision, (rounds + 1) * steps + 1, steps)
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
            self._run(name, race)
        except ContenderFailed as error:
            return str(error)
        return None

    def _run(self, name: str, race: Race) -> dict[str, Any]:
        with self._new_folder() as folder:
            return RACERS[name].run(race, folder, RACERS[name].options)

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """Give a folder that is not there yet; remove it afterwards."""
        folder = self.folder / "runs" / str(next(self._numbers))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _job(self, run: Path, precision: str, steps: int, every_steps: int) -> dict[str, Any]:
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
            "run": str(self.ready.new_run(run)),
            "overrides": overrides,
        }
