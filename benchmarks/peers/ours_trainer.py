"""yxanul: its trainer, as a whole process and from the inside, and the scorer of all models.

From the inside the trainer is opened as `yxanul train` opens it and goes on from round to round:
text from the shards, metrics to metrics.jsonl, checkpoints at the cadence of the recipe. A round
lasts until the last checkpoint it began is on the disk. What belongs to no step is not in a round:
the start, the scores of held-out text, the save at the end of a stage.
"""

from __future__ import annotations

import contextlib
import json
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from harness.process import environment, yxanul
from yxanul.base.errors import Interrupted
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.bundle import open_bundle
from yxanul.checkpoint.config import CheckpointSettings
from yxanul.cli.output import make_ui
from yxanul.data.shards import Shards
from yxanul.eval.perplexity import score_shards, window_shape
from yxanul.model.compile import compile_unsupported_reason
from yxanul.model.convert import read_pretrained, write_pretrained
from yxanul.model.language_model import LanguageModel
from yxanul.optim.schedules import warmup_length
from yxanul.recipe import load_recipe
from yxanul.stages.callbacks import CheckpointSaver, Scorer
from yxanul.stages.ledger import Entry
from yxanul.stages.micro_batches import fit
from yxanul.stages.runner import make_trainer, record_plan
from yxanul.stages.session import Session, build_session
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.trainer import Callback, StepReport, Trainer

DEFAULT_CADENCE = CheckpointSettings().every_steps or 1000
"""Steps between two checkpoints."""


def trainer(job: dict[str, Any], overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run `yxanul train` to its end, a run that was cut short from where it stopped; return its
    facts, the seconds of the whole process among them."""
    env = environment(job["threads"], job["cache"] and Path(job["cache"]))
    command = ("train", job["recipe"], *job["overrides"], *overrides, "--out", job["run"])
    told, seconds = yxanul(*command, env=env)
    metrics = RunFolder(Path(job["run"])).metrics.read_text().splitlines()
    steps = [line for line in map(json.loads, metrics) if "train/loss" in line]
    start, in_steps = told["start_seconds"], sum(line["perf/total_step_time"] for line in steps)
    return {
        "seconds": seconds,
        "tokens": told["tokens"],
        "first_loss": steps[0]["train/loss"],
        "mean_loss": fmean(line["train/loss"] for line in steps),
        "first_step_seconds": sum(start.values()),
        "start_seconds": start,
        "in_steps_seconds": in_steps,
        "checkpoint_seconds": told["checkpoint_seconds"],
        # Scores, the sample, xz, metrics; the first step is in both of the others.
        "rest_seconds": seconds - sum(start.values()) - in_steps - told["checkpoint_seconds"],
        "held_out_tokens": sum(one["tokens"] for one in told["held_out"].values()),
    }


def write_start(recipe_path: Path, seed: int, tokenizer: Path, folder: Path) -> None:
    """Write the weights that `yxanul train` would start from, for a peer."""
    recipe = load_recipe(str(recipe_path), [f"seed={seed}"])
    model = LanguageModel(recipe.model.resolved(Tokenizer.load(tokenizer).vocab_size))
    model.init_weights(torch.Generator().manual_seed(derive_seed(recipe.seed, "weights")))
    write_pretrained(model, folder)


def warmup_steps(recipe_path: Path, steps: int) -> int:
    """Return the warm-up that our recipe has in so many steps."""
    return warmup_length(load_recipe(str(recipe_path)).optim.schedule, steps)


def is_compiler_there() -> bool:
    """Tell whether torch.compile works on this machine's CPU."""
    return compile_unsupported_reason("cpu") is None


def score(
    folder: Path, is_ours: bool, shards: Path, mix: list[str], seq_len: int
) -> dict[str, Any]:
    """Return the loss of a trained model over all held-out documents of the sources in the mix, in
    nats a token, weights in fp32."""
    if is_ours:
        model = open_bundle(folder, "last").model
    else:
        settings, tensors = read_pretrained(folder)
        model = LanguageModel(settings)
        model.load_state_dict(tensors)
    model, shape = model.float().eval(), window_shape(seq_len)
    by_source, nats, tokens = {}, 0.0, 0
    for name in mix:
        one = score_shards(model, Shards.open(shards, name, "validation"), shape)
        by_source[name] = one.to_dict()
        nats, tokens = nats + one.loss * one.tokens, tokens + one.tokens
    return {"loss": nats / tokens, "held_out_tokens": tokens, "by_source": by_source}


class TimedSaving(Callback):
    """Saving where it is due, its seconds noted; a round's end is no end of a run."""

    def __init__(self, saving: CheckpointSaver, holds: list[float]):
        self._saving, self._holds = saving, holds

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Save if it is due."""
        writer = self._saving.session.writer
        writer.check()  # a save that has ended is waited for, which is no hold
        before, start = writer.seconds_blocked, time.perf_counter()
        self._saving.after_step(trainer, report)
        if writer.seconds_blocked > before:
            self._holds.append(time.perf_counter() - start)


class Training(Callback):
    """A trainer that does some steps at a time, inside a contender's process."""

    def __init__(self, job: dict[str, Any]):
        self.session, self.trainer = open_trainer(job)
        self.holds: list[float] = []
        """Seconds that each checkpoint has kept the training waiting."""
        self.stamps: list[float] = []
        """When each step of the round was done, and its loss."""
        self.losses: list[float] = []
        callbacks = [
            TimedSaving(one, self.holds) if isinstance(one, CheckpointSaver) else one
            for one in self.trainer.callbacks
        ]
        self.trainer.callbacks = [self, *callbacks]
        master = self.session.engine.mixed_precision.master_model
        self.facts = {"parameters": sum(one.numel() for one in master.parameters())}

    def after_step(self, trainer: Trainer, report: StepReport) -> None:
        """Note the moment and the loss."""
        self.stamps.append(time.perf_counter())
        self.losses.append(report.loss)

    def warm(self, steps: int = 2) -> dict[str, Any]:
        """Do the warm-up; return the first loss and the time of the last step."""
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
        return {
            "tokens_per_second": (self.trainer.progress.tokens_seen - tokens) / seconds,
            "seconds": seconds,
            "seconds_after_last_step": time.perf_counter() - ended,
            "steps": [b - a for a, b in pairwise([start, *self.stamps])],
            "holds": list(self.holds),
        }


def open_trainer(job: dict[str, Any]) -> tuple[Session, Trainer]:
    """Return the first stage's trainer as `run_stage` makes it, the text before it unscored."""
    recipe = load_recipe(job["recipe"], job["overrides"])
    session = build_session(RunFolder(Path(job["run"])), recipe, make_ui(), StopRequest())
    stage = recipe.stages[0]
    session.start_stage(stage.name)
    entry = Entry(stage.name, "running", 0, 0, 0, {}, {})
    session.ledger.entries.append(entry)
    plan = fit(session, record_plan(session, stage, entry), stage, entry)
    session.ledger.write()
    return session, make_trainer(session, 0, plan, entry, Scorer(session, 0))
