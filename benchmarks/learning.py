"""Learning benchmark: how fast our default recipe learns, in tokens, beside the peer's Trainer.

    make bench-learning                        # hours on two cores; it goes on where it stopped
    python benchmarks/learning.py --datasets stories --until 18:30 --threads 1
    python benchmarks/learning.py --report     # only what is known so far

The peer is `transformers`' Trainer at its defaults (AdamW with betas .9 and .999, no decay, norms
clipped at 1) with a cosine and its rate tuned over five values on one seed; its warm-up has the
share of the run that ours has by default. Ours is recipes/base.yaml as it is. Both have one
architecture, tokenizer, batch and precision, and read the same rows in the same order; both are
scored on the same held-out documents, by the same scorer, with weights in fp32. Then one ingredient
at a time is taken out of our recipe (`our_arms`; `harness/study.py` has the order of the jobs).
Each job is a process of its own whose result is kept in a file of its own in the work folder, and
none is done twice.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness import report
from harness.contenders import Contenders, run_whole
from harness.process import ROOT, environment
from harness.seeds import Mean, crossing, mean_of, paired
from harness.shapes import STEP_SHAPES, Shape
from harness.study import (
    ADAMW_RATES,
    CLAIMED,
    GOAL,
    OTHER_SHARES,
    PEER_RATES,
    PEER_WARM,
    PEERS,
    Job,
    Results,
    Study,
    planned,
)
from harness.texts import DATASETS, Prepared, prepare, recipe_of
from peers import LEARNING
from peers.ours_data import write_rows
from peers.ours_trainer import is_compiler_there, score, trainer, warmup_steps, write_start

SCALES = {"micro": STEP_SHAPES["micro"], "tiny": STEP_SHAPES["nano"]}
"""The shape of every job; `tiny` is for tests."""
WORTH_COMPILING = 100
"""So many steps have to be ahead before the peer compiles."""
LONG_WARMUP = 0.1
WHAT = {
    "peer": "transformers Trainer, AdamW and cosine at its best rate",
    "peer-our-init": "the same from our start weights",
    PEER_WARM: "the same with a tenth of the run as warm-up",
    "ours": "our recipe: Muon, straight to zero, decay 0.1, rows of one length",
    "curriculum": "short rows (1/4) for a fifth, then long ones",
    "curriculum-three": "rows of 1/4, 1/2 and full length (0.2, 0.2, 0.6)",
    "adamw": "AdamW instead of Muon, at its best rate",
    "cosine": "cosine to zero instead of straight to zero",
    "floor": "straight to a tenth instead of to zero",
    "no-decay": "no weight decay",
    "warm": "a tenth of the run as warm-up instead of a hundredth",
    "peer-settings": "the peer's settings and rate in our program",
}
"""Every arm in words."""


def our_arms(long: int) -> dict[str, tuple[str, ...]]:
    """Return what each of our arms changes in the recipe, whose rows have `long` tokens."""
    two = f"[{{seq_len: {long // 4}, share: 0.2}}, {{seq_len: {long}, share: 0.8}}]"
    three = (
        f"[{{seq_len: {long // 4}, share: 0.2}}, {{seq_len: {long // 2}, share: 0.2}},"
        f" {{seq_len: {long}, share: 0.6}}]"
    )
    cosine = "optim.schedule={name: cosine, min_lr_fraction: 0}"
    adamw = "optim.name=adamw"
    return {
        "ours": (),
        "curriculum": (f"stages.0.curriculum={two}",),
        "curriculum-three": (f"stages.0.curriculum={three}",),
        "adamw": (adamw,),
        "cosine": (cosine,),
        "floor": ("optim.schedule={name: linear, min_lr_fraction: 0.1}",),
        "no-decay": ("optim.weight_decay=0",),
        "warm": ("optim.schedule.warmup_fraction=0.1",),
        "peer-settings": (adamw, "optim.betas=[0.9, 0.999]", "optim.weight_decay=0", cosine),
    }


def run_recipe(study: Study, options: argparse.Namespace) -> Results:
    """Do the jobs one after the other until there is none, or no time; return what is known."""
    shape, ready, results = SCALES[options.scale], {}, known(study, options.work)
    while not options.report and not is_late(options.until):
        job = next((job for job in planned(study, results) if job not in results), None)
        if job is None:
            break
        if job.dataset not in ready:
            ready[job.dataset] = prepared(job.dataset, shape, options)
        do = partial(do_job, job, shape, ready[job.dataset], options)
        found = report.kept(result_path(options.work, job), do)
        report.say(f"{datetime.now():%H:%M:%S} {job.dataset} {job.key}: {found['loss']:.4f}"
            f" nats, {found['seconds']:.0f} s")  # fmt: skip
        results = known(study, options.work)
    return results


def prepared(name: str, shape: Shape, options: argparse.Namespace) -> Prepared:
    """Return a dataset with its tokenizer and shards, and the recipe of all its jobs."""
    own, dataset = options.work / name, DATASETS[name]
    checkpoints = {"every_steps": None, "keep": 1}
    train = {"precision": options.precision, "checkpoint": checkpoints}
    sources = dataset.sources(options.shared, own)
    return prepare(own, recipe_of(shape, dataset, sources, own, train=train))


def known(study: Study, work: Path) -> Results:
    """Return the results on disk; each may name further jobs."""
    results: Results = {}
    while True:
        paths = {job: result_path(work, job) for job in planned(study, results)}
        more = {job: json.loads(path.read_text()) for job, path in paths.items() if path.is_file()}
        if len(more) == len(results):
            return more
        results = more


def result_path(work: Path, job: Job) -> Path:
    """Return the file that keeps the result of a job."""
    return work / job.dataset / "results" / f"{job.key}.json"


def is_late(until: str | None) -> bool:
    """Tell whether the clock has passed a time of this day, such as 18:30."""
    return until is not None and time.strftime("%H:%M") >= until


def do_job(job: Job, shape: Shape, ready: Prepared, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score; return what was found."""
    folder = options.work / job.dataset / "runs" / job.key
    start = time.perf_counter()
    if job.is_peer:
        shutil.rmtree(folder, ignore_errors=True)
        told = peer_job(job, shape, ready, folder) | {"precision": options.precision}
        facts = run_whole(LEARNING["transformers"], "learning", told, environment(options.threads))
    else:
        told = {"recipe": str(ready.recipe), "run": str(ready.new_run(folder))}
        told |= {"overrides": overrides_of(job, shape), "threads": options.threads, "cache": None}
        facts = trainer(told)
    facts = {name: facts[name] for name in ("tokens", "first_loss")}
    seconds = round(time.perf_counter() - start, 1)
    mix, trained = list(DATASETS[job.dataset].mix), folder / "out" if job.is_peer else folder
    found = asdict(job) | facts | score(trained, not job.is_peer, ready.shards, mix, shape.seq_len)
    found["seconds"] = seconds
    shutil.rmtree(folder, ignore_errors=True)
    return found


def overrides_of(job: Job, shape: Shape) -> list[str]:
    """Return what `yxanul train` is told beside the recipe."""
    rate = [] if job.rate is None else [f"optim.peak_lr={job.rate:g}"]
    budget = f"stages.0.budget={{tokens: {job.steps * shape.tokens}}}"
    return [f"seed={job.seed}", budget, *our_arms(shape.seq_len)[job.arm], *rate]


def peer_job(job: Job, shape: Shape, ready: Prepared, folder: Path) -> dict[str, Any]:
    """Write what the peer trains on and starts from; return what it is told."""
    folder.mkdir(parents=True)
    write_rows(ready.recipe, [f"seed={job.seed}"], job.steps, folder / "rows.npy")
    write_start(ready.recipe, job.seed, ready.tokenizer, folder / "start")
    warmup = warmup_steps(ready.recipe, job.steps)
    return {
        "weights": str(folder / "start"),
        "start": "its own" if job.arm == PEERS[0] else "ours",
        "array": str(folder / "rows.npy"),
        "rows": shape.tokens // shape.seq_len,
        "seq_len": shape.seq_len,
        "steps": job.steps,
        "rate": job.rate or 5e-5,
        "seed": job.seed,
        "warmup_steps": round(LONG_WARMUP * job.steps) if job.arm == PEER_WARM else warmup,
        "compiled": job.steps >= WORTH_COMPILING and is_compiler_there(),
        "device": "cpu",
        "out": str(folder / "out"),
        "launched": time.time(),
    }


def by_seed(results: Results, dataset: str, arm: str, steps: int) -> dict[int, float]:
    """Return the losses of an arm at the rate that most seeds have."""
    found: dict[float | None, dict[int, float]] = {}
    for job, result in results.items():
        if (job.dataset, job.arm, job.steps) == (dataset, arm, steps):
            found.setdefault(job.rate, {})[job.seed] = result["loss"]
    return min(found.values(), key=lambda one: (-len(one), min(one.values())), default={})


def best_peer(results: Results, dataset: str, steps: int) -> dict[int, float]:
    """Return the losses of the peer's better arm."""
    arms = [by_seed(results, dataset, arm, steps) for arm in PEERS]
    arms = [losses for losses in arms if losses]
    return min(arms, key=lambda one: (-len(one), statistics.fmean(one.values())), default={})


def claim(study: Study, dataset: str, arm: str, results: Results) -> dict[str, Any]:
    """Return how far an arm of ours is at the goal's share of the tokens, and where it crosses."""
    peer = best_peer(results, dataset, study.steps)
    if not peer:
        return {}
    shares = sorted({*OTHER_SHARES, GOAL, 1.0})
    points = {share: by_seed(results, dataset, arm, study.share(share)) for share in shares}
    points = {share: losses for share, losses in points.items() if losses}
    difference = paired(points.get(GOAL, {}), peer)
    warm = paired(points.get(GOAL, {}), by_seed(results, dataset, PEER_WARM, study.steps))
    return {
        "peer": asdict(mean_of(list(peer.values()))),
        "ours_by_share": {
            str(share): asdict(mean_of(list(losses.values()))) for share, losses in points.items()
        },
        "ours_at_goal_minus_peer": asdict(difference) if difference else None,
        "ours_at_goal_minus_warm_peer": asdict(warm) if warm else None,
        "reached_at_by_seed": {
            str(seed): crossing({s: one[seed] for s, one in points.items() if seed in one}, loss)
            for seed, loss in sorted(peer.items())
        },
    }


def claim_row(text: str, arm: str, found: Mapping[str, Any]) -> list[str]:
    """Return a claim as a row: peer, ours by share, difference at the goal, where it is reached."""
    by_share = found["ours_by_share"].items()
    differences = [found[f"ours_at_goal_minus_{peer}"] for peer in ("peer", "warm_peer")]
    reached = [share for share in found["reached_at_by_seed"].values() if share is not None]
    return [
        text,
        arm,
        str(Mean(**found["peer"])),
        ", ".join(f"{share}: {Mean(**mean)}" for share, mean in by_share),
        *(Mean(**one).written("+") if one else "" for one in differences),
        ", ".join(f"{share:.2f}" for share in reached),
    ]


def share_rows(
    study: Study, dataset: str, results: Results, arms: Iterable[str]
) -> list[list[str]]:
    """Return a row for each arm: steps, loss, how much worse than ours it is, and the loss of its
    first seed at each rate that was tried."""
    ours = by_seed(results, dataset, "ours", study.steps_of("ours"))
    rows = []
    for arm in arms:
        steps = study.steps_of(arm)
        losses = by_seed(results, dataset, arm, steps)
        if losses:
            difference = None if arm == "ours" else paired(losses, ours)
            written = difference.written("+") if difference else ""
            mean, rates = (
                str(mean_of(list(losses.values()))),
                rates_of(results, dataset, arm, steps),
            )
            rows.append([arm, WHAT[arm], str(steps), mean, written, rates])
    return rows


def rates_of(results: Results, dataset: str, arm: str, steps: int) -> str:
    """Write the rates at which an arm was tried with its first seed, and each one's loss."""
    found = {
        job.rate: result["loss"]
        for job, result in sorted(results.items(), key=lambda item: -item[0].seed)
        if (job.dataset, job.arm, job.steps) == (dataset, arm, steps) and job.rate is not None
    }
    return ", ".join(f"{rate:g}: {found[rate]:.3f}" for rate in sorted(found))


def show(study: Study, results: Results) -> dict[str, Any]:
    """Print the tables; return the claim of each dataset and arm."""
    both = [(dataset, arm) for dataset in study.datasets for arm in CLAIMED]
    claims = {one: claim(study, *one, results) for one in both}
    against = [f"at {GOAL} minus peer", "minus warm peer", "reached at"]
    report.show_table(
        f"held-out loss at shares of the peer's {study.steps} steps; 95 % intervals over seeds",
        ["text", "ours", "peer", "share: loss of ours", *against],
        [claim_row(*one, found) for one, found in claims.items() if found],
    )
    for dataset in study.datasets:
        report.show_table(
            f"{dataset}: held-out loss, nats a token; 95 % intervals over seeds",
            ["arm", "what", "steps", "loss", "minus ours", "rates tried"],
            share_rows(study, dataset, results, WHAT),
        )
    return {f"{dataset}/{arm}": found for (dataset, arm), found in claims.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = report.make_parser(__doc__)
    default = ["stories", "wiki-web"]
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=default)
    parser.add_argument("--scale", choices=SCALES, default="micro")
    parser.add_argument("--steps", type=int, default=300, help="of the peer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peer-rates", type=float, nargs="+", default=PEER_RATES)
    parser.add_argument("--adamw-rates", type=float, nargs="+", default=ADAMW_RATES)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--until", metavar="HH:MM", help="begin no job after this time")
    parser.add_argument("--report", action="store_true", help="do no job, show what is known")
    parser.add_argument(
        "--work", type=Path, default=ROOT.parent / "runs" / "learning", help="folder of the jobs"
    )
    parser.add_argument("--shared", type=Path, default=report.SHARED, help="folder of real text")
    return report.parse(parser, arguments)


def main() -> int:
    """Do the study; write what is known at its end."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run under way ends as well
    if not options.report and Contenders(LEARNING, LEARNING).absent:
        return 1
    study = Study(
        tuple(options.datasets),
        options.steps,
        tuple(options.seeds),
        tuple(options.peer_rates),
        tuple(options.adamw_rates),
    )
    results = run_recipe(study, options)
    shape = SCALES[options.scale]
    scale = {
        "preset": shape.model["preset"],
        "vocab_size": shape.settings.known_vocab_size,
        "seq_len": shape.seq_len,
        "batch_tokens": shape.tokens,
    }
    order = sorted(
        results, key=lambda job: (job.dataset, job.arm, job.steps, job.rate or 0, job.seed)
    )
    found = {
        "study": asdict(study) | {"scale": scale},
        "claims": show(study, results),
        "jobs": [results[job] for job in order],
        "missing": [
            asdict(job) for job in dict.fromkeys(planned(study, results)) if job not in results
        ],
    }
    report.write_results(options, "learning", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
