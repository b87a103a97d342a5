"""Learning benchmark: how fast our default recipe learns, in tokens, beside the peer's Trainer.

    make bench-learning                        # hours on two cores; it goes on where it stopped
    python benchmarks/learning.py --datasets stories --arms peer curriculum --until 18:30
    python benchmarks/learning.py --report     # only what is known so far

The peer is `transformers`' Trainer at its defaults (AdamW with betas .9 and .999, no decay, norms
clipped at 1) with a cosine, from start weights of its own or from ours, and with the warm-up that
ours has or a longer one. Ours is recipes/base.yaml as it is, at a share of the peer's tokens, then
with one ingredient changed at a time. All have one architecture, tokenizer, batch and precision,
read the same rows in the same order, and are scored on the same held-out documents, by the same
scorer, with weights in fp32. Each arm of ARMS tries its rates on the first seed, and does the
others at the best of them. Each job is a process of its own, whose result is kept in the work
folder, so that none is done twice.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness import report
from harness.contenders import Contenders, run_whole
from harness.process import ROOT, environment
from harness.seeds import crossing, mean_of, paired
from harness.shapes import STEP_SHAPES, Shape
from harness.texts import DATASETS, Prepared, prepare, recipe_of
from peers import LEARNING
from peers.ours_data import write_rows
from peers.ours_trainer import is_compiler_there, score, trainer, warmup_steps, write_start

SCALES = {"micro": STEP_SHAPES["micro"], "tiny": STEP_SHAPES["nano"]}
"""The shape of every job; `tiny` is for tests."""
WORTH_COMPILING = 100
"""So many steps have to be ahead before the peer compiles."""
GOAL = 0.6
"""Share of the peer's tokens that is to be enough."""
PEER_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)


@dataclass(frozen=True)
class Arm:
    """One way of training."""

    what: str
    overrides: tuple[str, ...] = ()
    """What it changes in our recipe."""
    rates: tuple[float | None, ...] = (None,)
    """Peak rates to try; None is the recipe's."""
    share: float = GOAL
    """Share of `--steps`."""
    short_rows: bool = False
    """Whether a fifth of the tokens comes in rows of a quarter of the length first, as in the
    recipes of the package."""
    is_peer: bool = False
    own_init: bool = False
    """Whether the peer draws its start weights itself."""
    long_warmup: bool = False
    """Whether the peer warms up for a tenth of the run."""


ADAMW, COSINE = "optim.name=adamw", "optim.schedule={name: cosine, min_lr_fraction: 0}"
_Peer = partial(Arm, rates=PEER_RATES, share=1.0, is_peer=True)
_Short = partial(Arm, "our recipe, short rows for a fifth of the tokens", short_rows=True)
ARMS = {
    "peer": _Peer("transformers Trainer, AdamW and cosine", own_init=True),
    "peer-our-init": _Peer("the same from our start weights"),
    "peer-warm": _Peer("the same with a tenth of the run as warm-up", long_warmup=True),
    "curriculum": _Short(),
    "curriculum-0.4": _Short(share=0.4),
    "curriculum-0.5": _Short(share=0.5),
    "curriculum-1.0": _Short(share=1.0),
    "ours": Arm("our recipe: Muon, linear to zero, decay 0.1, rows of one length"),
    "adamw": Arm("AdamW instead of Muon", (ADAMW,), (7.5e-4, 1.5e-3, 3e-3, 6e-3)),
    "rates": Arm("our recipe at other rates", (), (1.5e-3, 3e-3, 6e-3)),
    "cosine": Arm("cosine to zero instead of linear", (COSINE,)),
    "floor": Arm("linear to a tenth", ("optim.schedule={name: linear, min_lr_fraction: 0.1}",)),
    "no-decay": Arm("no weight decay", ("optim.weight_decay=0",)),
    "warm": Arm("a tenth of the run as warm-up", ("optim.schedule.warmup_fraction=0.1",)),
    "peer-settings": Arm(
        "the peer's settings in our program",
        (ADAMW, "optim.betas=[0.9, 0.999]", "optim.weight_decay=0", COSINE),
        PEER_RATES,
        share=1.0,
    ),
}
CLAIMED = [name for name, arm in ARMS.items() if arm.short_rows]
"""Our recipe as the package ships it, at several shares of the tokens."""


class Study:
    """The jobs: each is done once, unless it is late or only a report is wanted."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.shape = options, SCALES[options.scale]
        self.found: list[dict[str, Any]] = []

    def losses(self, dataset: str, name: str) -> tuple[dict[float | None, float], dict[int, float]]:
        """Return the loss of the first seed by rate, and that of each seed at the best rate; what
        is not known is left out."""
        first, *others = self.options.seeds
        rates = ARMS[name].rates if self.options.rates is None else self.options.rates
        jobs = {rate: self.job(dataset, name, first, rate) for rate in rates}
        tried = {rate: loss for rate, loss in jobs.items() if loss is not None}
        if len(tried) < len(jobs):
            return tried, {}
        best = min(tried, key=tried.__getitem__)
        rest = {seed: self.job(dataset, name, seed, best) for seed in others}
        return tried, {first: tried[best]} | {s: one for s, one in rest.items() if one is not None}

    def job(self, dataset: str, name: str, seed: int, rate: float | None) -> float | None:
        """Return the held-out loss of one job, nats a token; None if it is not known."""
        key = f"{name}-rate-{rate or 'default'}-steps-{self.options.steps}-seed-{seed}"
        path = self.options.work / dataset / "results" / f"{key}.json"
        is_late = self.options.until is not None and time.strftime("%H:%M") >= self.options.until
        if not path.exists() and (self.options.report or is_late):
            return None
        told = {"dataset": dataset, "arm": name, "seed": seed, "rate": rate}
        found = report.kept(path, lambda: told | self._train(dataset, ARMS[name], seed, rate, key))
        self.found.append(found)
        return found["loss"]

    def _train(
        self, dataset: str, arm: Arm, seed: int, rate: float | None, key: str
    ) -> dict[str, Any]:
        """Train and score; return what was found."""
        ready, folder = self._prepared(dataset), self.options.work / dataset / "runs" / key
        steps, start = round(arm.share * self.options.steps), time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        if arm.is_peer:
            job = peer_job(arm, self.shape, ready, folder, steps, seed, rate)
            job["precision"] = self.options.precision
            env = environment(self.options.threads)
            facts = run_whole(LEARNING["transformers"], "learning", job, env)
        else:
            changes = overrides_of(arm, self.shape, steps, seed, rate)
            job = {"recipe": str(ready.recipe), "run": str(ready.new_run(folder)), "cache": None}
            facts = trainer(job | {"overrides": changes, "threads": self.options.threads})
        facts = {name: facts[name] for name in ("tokens", "first_loss")}
        facts |= {"steps": steps, "seconds": round(time.perf_counter() - start, 1)}
        mix, trained = list(DATASETS[dataset].mix), folder / "out" if arm.is_peer else folder
        facts |= score(trained, not arm.is_peer, ready.shards, mix, self.shape.seq_len)
        shutil.rmtree(folder)
        report.say(f"{datetime.now():%H:%M:%S} {dataset} {key}: {facts['loss']:.4f} nats")
        return facts

    def _prepared(self, name: str) -> Prepared:
        """Return a dataset with its tokenizer and shards, and the recipe of all its jobs."""
        own, dataset = self.options.work / name, DATASETS[name]
        checkpoints = {"every_steps": None, "keep": 1}
        train = {"precision": self.options.precision, "checkpoint": checkpoints}
        sources = dataset.sources(self.options.shared, own)
        return prepare(own, recipe_of(self.shape, dataset, sources, own, train=train))


def overrides_of(arm: Arm, shape: Shape, steps: int, seed: int, rate: float | None) -> list[str]:
    """Return what `yxanul train` is told beside the recipe."""
    told = [f"seed={seed}", f"stages.0.budget={{tokens: {steps * shape.tokens}}}", *arm.overrides]
    if arm.short_rows:
        short, long = shape.seq_len // 4, shape.seq_len
        phases = f"[{{seq_len: {short}, share: 0.2}}, {{seq_len: {long}, share: 0.8}}]"
        told.append(f"stages.0.curriculum={phases}")
    return told if rate is None else [*told, f"optim.peak_lr={rate:g}"]


def peer_job(
    arm: Arm,
    shape: Shape,
    ready: Prepared,
    folder: Path,
    steps: int,
    seed: int,
    rate: float | None,
) -> dict[str, Any]:
    """Write what the peer trains on and starts from; return what it is told."""
    folder.mkdir(parents=True)
    write_rows(ready.recipe, [f"seed={seed}"], steps, folder / "rows.npy")
    write_start(ready.recipe, seed, ready.tokenizer, folder / "start")
    return {
        "weights": str(folder / "start"),
        "start": "its own" if arm.own_init else "ours",
        "array": str(folder / "rows.npy"),
        "rows": shape.tokens // shape.seq_len,
        "seq_len": shape.seq_len,
        "steps": steps,
        "rate": rate,
        "seed": seed,
        "warmup_steps": steps // 10 if arm.long_warmup else warmup_steps(ready.recipe, steps),
        "compiled": steps >= WORTH_COMPILING and is_compiler_there(),
        "device": "cpu",
        "out": str(folder / "out"),
        "launched": time.time(),
    }


def compare(study: Study, dataset: str) -> dict[str, Any]:
    """Do the jobs of a dataset, print them as a table, and return the claim: how far our recipe is
    from the best of the peers at GOAL of the tokens, and with which share it reaches its loss."""
    known = {name: study.losses(dataset, name) for name in study.options.arms}
    losses = {name: by_seed for name, (_, by_seed) in known.items() if by_seed}
    means = {name: statistics.fmean(by_seed.values()) for name, by_seed in losses.items()}
    peers = [name for name in losses if ARMS[name].is_peer]
    peer = min(peers, key=means.__getitem__, default=None)
    rows = []
    for name, by_seed in losses.items():
        difference = paired(by_seed, losses[peer]) if peer and name != peer else None
        tried = ", ".join(f"{rate or 'its'}: {loss:.3f}" for rate, loss in known[name][0].items())
        mean = str(mean_of(list(by_seed.values())))
        written = difference.written("+") if difference else ""
        rows.append([name, ARMS[name].what, f"{ARMS[name].share}", mean, written, tried])
    title = f"{dataset}: held-out loss, nats a token; 95 % intervals over seeds"
    columns = ["arm", "what", "share", "loss", f"minus {peer}", "rates tried"]
    report.show_table(title, columns, rows)
    if peer is None or CLAIMED[0] not in losses:
        return {}
    difference = paired(losses[CLAIMED[0]], losses[peer])
    by_share = {ARMS[name].share: means[name] for name in CLAIMED if name in means}
    return {
        "peer": peer,
        "minus_peer": asdict(difference) if difference else None,
        "reached_at": crossing(by_share, means[peer]),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    add("--datasets", nargs="+", choices=DATASETS, default=["stories", "wiki-web"])
    add("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    add("--scale", choices=SCALES, default="micro")
    add("--steps", type=int, default=300, help="of the peer; ours have a share of them")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--rates", type=float, nargs="+", help="peak rates of every arm instead of its own")
    add("--precision", choices=report.PRECISIONS, default="bf16")
    add("--until", metavar="HH:MM", help="begin no job after this time")
    add("--report", action="store_true", help="do no job, show what is known")
    add("--work", type=Path, default=ROOT.parent / "runs" / "learning", help="folder of the jobs")
    add("--shared", type=Path, default=report.SHARED, help="folder of real text")
    return report.parse(parser, arguments)


def main() -> int:
    """Do the study; write what is known at its end."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run under way ends as well
    if not options.report and Contenders(LEARNING, LEARNING).absent:
        return 1
    study = Study(options)
    claims = {dataset: compare(study, dataset) for dataset in options.datasets}
    report.say(json.dumps(claims, indent=2))
    report.write_results(options, "learning", {"claims": claims, "jobs": study.found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
