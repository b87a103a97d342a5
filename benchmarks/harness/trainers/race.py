"""Whole trainings in processes of their own, from the command to the end: ours and the peers'.

Everybody trains the same shape on the same tokens in the same order, in as many threads, from
start weights of its own, and leaves a checkpoint with the optimizer's state at its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.process import LOG_TAIL, ContenderFailed
from harness.trainers.texts import PEAK_RATE, Ready
from peers.lit_config import config_fields
from yxanul.base.run_folder import RunFolder
from yxanul.model.convert.architectures import LLAMA
from yxanul.model.convert.write import config_for

PEERS = Path(__file__).resolve().parents[2] / "peers"


@dataclass(frozen=True)
class Race:
    """What all contenders are given."""

    ready: Ready
    rows: Path
    """The array of the peers."""
    precision: str
    steps: int
    threads: int | None
    seed: int
    cache: Path
    """For what programs keep from one process to the next."""

    @property
    def tokens(self) -> int:
        """Tokens that everybody trains on."""
        return self.steps * self.ready.shape.tokens


@dataclass(frozen=True)
class Racer:
    """A contender: how it is called, and how its facts are found in its folder."""

    run: Callable[[Race, Path, Mapping[str, Any]], dict[str, Any]]
    """(race, new folder, options) -> facts, `seconds` among them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Packages."""

    def why_not(self) -> str | None:
        """Return why it cannot take part, or None."""
        missing = [name for name in self.needs if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None


def timed_process(
    command: list[str], race: Race, more: Mapping[str, str] | None = None
) -> tuple[float, str]:
    """Return the seconds of a process from its start to its end, and what it printed."""
    env = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": str(race.cache),
        "TORCHINDUCTOR_CACHE_DIR": str(race.cache / "inductor"),
    }
    if race.threads:
        env["OMP_NUM_THREADS"] = str(race.threads)
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=env | dict(more or {}))
    seconds = time.perf_counter() - start
    if done.returncode:
        raise ContenderFailed(f"{' '.join(command)}: {done.stderr[-LOG_TAIL:].strip()}")
    return seconds, done.stdout


def train_command(ready: Ready, run: Path, steps: int, *overrides: str) -> list[str]:
    """Return what a person types to train so many steps."""
    budget = f"stages.0.budget={{steps: {steps}}}"
    command = [sys.executable, "-m", "yxanul", "train", str(ready.recipe), budget, *overrides]
    return [*command, "--out", str(run), "--json"]


def ours(race: Race, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run `yxanul train`."""
    run = race.ready.new_run(folder)
    overrides = [f"train.precision={race.precision}", *options.get("overrides", ())]
    seconds, printed = timed_process(train_command(race.ready, run, race.steps, *overrides), race)
    told = json.loads(printed)
    metrics = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
    steps = [line for line in metrics if "train/loss" in line]
    start, in_steps = told["start_seconds"], sum(line["perf/total_step_time"] for line in steps)
    return {
        "seconds": seconds,
        "tokens": told["tokens"],
        "mean_loss": fmean(line["train/loss"] for line in steps),
        "first_step_seconds": sum(start.values()),
        "start_seconds": start,
        "in_steps_seconds": in_steps,
        "checkpoint_seconds": told["checkpoint_seconds"],
        # Scores, the sample, xz, metrics; the first step is in both of the others.
        "rest_seconds": seconds - sum(start.values()) - in_steps - told["checkpoint_seconds"],
        "held_out_tokens": sum(one["tokens"] for one in told["held_out"].values()),
    }


def peer(race: Race, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Run a script of peers/, told what to do by a file."""
    folder.mkdir(parents=True)
    settings, shape = race.ready.shape.settings, race.ready.shape
    (folder / "config.json").write_text(json.dumps(config_for(settings, LLAMA)))
    job = {
        "array": str(race.rows),
        "rows": race.ready.rows,
        "seq_len": shape.seq_len,
        "steps": race.steps,
        "precision": race.precision,
        "rate": PEAK_RATE,
        "seed": race.seed,
        "config": str(folder / "config.json"),
        "model_config": config_fields(settings),
        "tied": settings.head == "tied",
        "out": str(folder / "out"),
        "facts": str(folder / "facts.json"),
        "compiled": options.get("compiled", False),
        "launched": time.time(),
    }
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-P", str(PEERS / options["script"]), str(folder / "job.json")]
    seconds, _ = timed_process(command, race, options.get("env"))
    return {"seconds": seconds} | json.loads((folder / "facts.json").read_text())


_HF, _LIT = ("transformers", "accelerate"), ("litgpt", "lightning", "jsonargparse")

RACERS: dict[str, Racer] = {
    "yxanul": Racer(ours),
    "yxanul-muon": Racer(ours, {"overrides": ("optim.name=muon",)}),
    "yxanul-compiled": Racer(ours, {"overrides": ("train.compile=true",)}),
    "transformers": Racer(peer, {"script": "hf_pretrain.py"}, _HF),
    "transformers-compiled": Racer(peer, {"script": "hf_pretrain.py", "compiled": True}, _HF),
    "litgpt": Racer(peer, {"script": "lit_pretrain.py"}, _LIT),
    "litgpt-uncompiled": Racer(
        peer, {"script": "lit_pretrain.py", "env": {"TORCH_COMPILE_DISABLE": "1"}}, _LIT
    ),
}
"""Ours with AdamW as all the others, with the optimizer that recipes start from, and compiled; the
peers as they come, and the other way round."""
