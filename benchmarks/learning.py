"""Measure how fast our default recipe learns, in tokens, beside the `transformers` Trainer.

    make bench-learning                        # hours on two cores; it goes on where it stopped
    python benchmarks/learning.py --datasets stories --until 18:30 --threads 1
    python benchmarks/learning.py --report     # only what is known so far

The peer is the Trainer at its defaults (AdamW with betas .9 and .999, no decay, norms clipped at 1)
with a cosine and its rate tuned over five values on one seed. Ours is recipes/base.yaml as it is.
Both have one architecture, tokenizer, batch and precision, and read the same rows in the same
order; both are scored on the same held-out documents, by the same scorer, with weights in fp32.
Then one ingredient at a time is taken out of our recipe. Each job is kept in a file of its own in
the work folder, and none is done twice.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from harness.learning.figures import all_jobs, claim, claim_row, share_rows
from harness.learning.jobs import (
    ADAMW_RATES,
    CLAIMED,
    GOAL,
    PEER_RATES,
    WHAT,
    Job,
    Results,
    Study,
    planned,
)
from harness.learning.texts import DATASETS, SCALES, Ready, Scale, make_ready
from harness.learning.work import do_job, read_results
from harness.report import RESULTS, describe_machine, say, show_table, write_results

HERE = Path(__file__).resolve()
SHARED = HERE.parents[2] / "shared" / "data"
WORK = HERE.parents[1] / "runs" / "learning"


def carry_out(study: Study, options: argparse.Namespace) -> Results:
    """Do the jobs one after the other until there is none, or no time; return what is known."""
    scale, ready = SCALES[options.scale], {}
    results = known(study, options.work)
    while not options.report and not is_late(options.until):
        job = next((job for job in planned(study, results) if job not in results), None)
        if job is None:
            break
        if job.dataset not in ready:
            ready[job.dataset] = prepared(job.dataset, scale, options)
        found = do_job(job, scale, ready[job.dataset], options.work)
        say(f"{datetime.now():%H:%M:%S} {job.dataset} {job.key}: {found['loss']:.4f}"
            f" nats, {found['seconds']:.0f} s")  # fmt: skip
        results = known(study, options.work)
    return results


def prepared(dataset: str, scale: Scale, options: argparse.Namespace) -> Ready:
    """Return a data set with its tokenizer and shards."""
    return make_ready(dataset, scale, options.precision, options.shared, options.work)


def known(study: Study, work: Path) -> Results:
    """Return the results on disk; each may name further jobs."""
    results: Results = {}
    while True:
        more = read_results(work, planned(study, results))
        if len(more) == len(results):
            return more
        results = more


def is_late(until: str | None) -> bool:
    """Tell whether the clock has passed a time of this day, such as 18:30."""
    return until is not None and time.strftime("%H:%M") >= until


def show(study: Study, results: Results) -> dict[str, Any]:
    """Print the tables; return the claim of each data set and arm."""
    both = [(dataset, arm) for dataset in study.datasets for arm in CLAIMED]
    claims = {one: claim(study, *one, results) for one in both}
    against = [f"at {GOAL} minus peer", "minus warm peer", "reached at"]
    show_table(
        f"held-out loss at shares of the peer's {study.steps} steps; 95 % intervals over seeds",
        ["text", "ours", "peer", "share: loss of ours", *against],
        [claim_row(*one, found) for one, found in claims.items() if found],
    )
    for dataset in study.datasets:
        show_table(
            f"{dataset}: held-out loss, nats a token; 95 % intervals over seeds",
            ["arm", "what", "steps", "loss", "minus ours", "rates tried"],
            share_rows(study, dataset, results, WHAT),
        )
    return {f"{dataset}/{arm}": found for (dataset, arm), found in claims.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ["stories", "wiki-web"]
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=default)
    parser.add_argument("--scale", choices=SCALES, default="micro")
    parser.add_argument("--steps", type=int, default=300, help="of the peer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peer-rates", type=float, nargs="+", default=PEER_RATES)
    parser.add_argument("--adamw-rates", type=float, nargs="+", default=ADAMW_RATES)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, help="of torch; default: all cores")
    parser.add_argument("--until", metavar="HH:MM", help="begin no job after this time")
    parser.add_argument("--report", action="store_true", help="do no job, show what is known")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the jobs' results")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of real text")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args(arguments)


def main() -> int:
    """Do the study; write what is known at its end."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a run under way ends as well
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    study = Study(
        tuple(options.datasets),
        options.steps,
        tuple(options.seeds),
        tuple(options.peer_rates),
        tuple(options.adamw_rates),
    )
    results = carry_out(study, options)
    found = {
        "machine": describe_machine(options.threads),
        "study": asdict(study) | {"scale": asdict(SCALES[options.scale])},
        "precision": options.precision,
        "claims": show(study, results),
        "jobs": [dict(results[job]) for job in all_jobs(results)],
        "missing": [asdict(job) for job in missing(study, results)],
    }
    write_results(options.out, "learning", "cpu", found)
    return 0


def missing(study: Study, results: Results) -> list[Job]:
    """Return the jobs that were not done."""
    return [job for job in dict.fromkeys(planned(study, results)) if job not in results]


if __name__ == "__main__":
    sys.exit(main())
