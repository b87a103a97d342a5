"""Our trainer, and our bare step on its batches, each inside a contender's process.

The trainer is opened as `yxanul train` opens it and goes on from round to round: text from the
shards, metrics to metrics.jsonl, checkpoints at the cadence of the recipe. A round lasts until the
last checkpoint it began is on the disk. What belongs to no step is not in a round: the start, the
scores of held-out text, the save at the end of a stage.
"""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.shapes import Shape
from harness.stepping import Stepping
from harness.trainers.figures import TRAINER
from yxanul.base.errors import Interrupted
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.cli.output import make_ui
from yxanul.recipe import load_recipe
from yxanul.stages.callbacks import Saving, Scorer
from yxanul.stages.config import stage_optim
from yxanul.stages.ledger import Entry
from yxanul.stages.micro_batches import fit
from yxanul.stages.runner import make_trainer, settle_plan
from yxanul.stages.session import Session, build_session
from yxanul.train.trainer import Callback, StepReport, Trainer

BATCHES = 16
"""Batches that the bare step goes through in turn: the first of the trainer's."""


def make(job: dict[str, Any]) -> Training | BareStep:
    """Return what the job's contender is."""
    return Training(job) if job["contender"] == TRAINER else BareStep(job)


class BareStep(Stepping):
    """The step of step.py, on the rows of a file."""

    def __init__(self, job: dict[str, Any]):
        super().__init__(job | {"contender": "yxanul"})

    def make_batches(self, shape: Shape, job: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        """Return the batches of the first steps."""
        num_rows = job["tokens"] // job["seq_len"]
        rows = np.load(job["rows"], mmap_mode="r")[: BATCHES * num_rows]
        batches = torch.from_numpy(rows.astype(np.int64)).split(num_rows)
        return [(one[:, :-1].contiguous(), one[:, 1:].contiguous()) for one in batches]


class Timed(Callback):
    """Saves where it is due, and notes for how long; a round's end is no end of a run."""

    def __init__(self, saving: Saving, holds: list[float]):
        self._saving, self._holds = saving, holds

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Save if it is due."""
        before, start = self._saving.session.writer.seconds_held, time.perf_counter()
        self._saving.after_step(trainer, report)
        if self._saving.session.writer.seconds_held > before:
            self._holds.append(time.perf_counter() - start)


class Training(Callback):
    """A trainer that does some steps at a time."""

    def __init__(self, job: dict[str, Any]):
        self.session, self.trainer = open_trainer(job)
        self.holds: list[float] = []
        """Seconds that each checkpoint has kept the training waiting."""
        self.stamps: list[float] = []
        """When each step of the round was done, and its loss."""
        self.losses: list[float] = []
        callbacks = [
            Timed(one, self.holds) if isinstance(one, Saving) else one
            for one in self.trainer.callbacks
        ]
        self.trainer.callbacks = [self, *callbacks]

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Note the moment and the loss."""
        self.stamps.append(time.perf_counter())
        self.losses.append(report.loss)

    def describe(self) -> dict[str, Any]:
        """Say what was built."""
        master = self.session.engine.mixed_precision.master_model
        return {"parameters": sum(one.numel() for one in master.parameters())}

    def warm(self, steps: int = 2) -> dict[str, Any]:
        """Do some steps; return the first loss and the time of the last step."""
        found = self.round(steps)
        return {"first_loss": self.losses[0], "step_seconds": found["steps"][-1]}

    def round(self, steps: int) -> dict[str, Any]:
        """Do some steps as the trainer does them; return how long they took, and each of them.

        A step lasts until the next one is recorded: a checkpoint counts with the step after it.
        """
        for noted in (self.holds, self.stamps, self.losses):
            noted.clear()
        before, tokens = self.trainer.progress.step, self.trainer.progress.tokens_seen
        self.trainer.stop = StopRequest(before + steps)
        start = time.perf_counter()
        with contextlib.suppress(Interrupted):
            self.trainer.run()
        ended = time.perf_counter()
        self.session.writer.wait()
        seconds = time.perf_counter() - start
        assert self.trainer.progress.step == before + steps, "the plan is too short"
        stamps = [start, *self.stamps]
        return {
            "tokens_per_second": (self.trainer.progress.tokens_seen - tokens) / seconds,
            "seconds": seconds,
            "seconds_after_last_step": time.perf_counter() - ended,
            "steps": [b - a for a, b in pairwise(stamps)],
            "holds": list(self.holds),
        }


def open_trainer(job: dict[str, Any]) -> tuple[Session, Trainer]:
    """Return the first stage's trainer as `run_stage` makes it, the text before it unscored."""
    recipe = load_recipe(job["recipe"], job["overrides"])
    session = build_session(RunFolder(Path(job["run"])), recipe, make_ui(), StopRequest())
    stage = recipe.stages[0]
    session.begin_stage(stage.name)
    optim, entry = stage_optim(recipe.optim, stage), Entry(stage.name, "running", 0, 0, 0, {}, {})
    session.ledger.entries.append(entry)
    plan = fit(session, settle_plan(session, stage, entry), stage, optim, entry)
    session.ledger.write()
    return session, make_trainer(session, 0, plan, entry, Scorer(session, 0))
