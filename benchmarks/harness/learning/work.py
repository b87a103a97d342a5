"""One job: our program or the peer trains, the same scorer judges, a file keeps the result."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.learning.jobs import Job, Results, our_arms
from harness.learning.shell import yxanul
from harness.learning.texts import Ready, Scale
from yxanul.base.files import read_json, write_json
from yxanul.base.run_folder import RunFolder
from yxanul.bundle import open_bundle
from yxanul.data.shards import Shards
from yxanul.eval.perplexity import score_shards, window_shape
from yxanul.model.language_model import LanguageModel


def read_results(work: Path, jobs: Iterable[Job]) -> Results:
    """Return what is known of the jobs."""
    paths = {job: _result_path(work, job) for job in jobs}
    return {job: read_json(path) for job, path in paths.items() if path.is_file()}


def do_job(job: Job, scale: Scale, ready: Ready, work: Path) -> dict[str, Any]:
    """Train and score; the result is on disk before this returns."""
    folder = work / job.dataset / "runs" / job.key
    start = time.perf_counter()
    if job.is_peer:
        shutil.rmtree(folder, ignore_errors=True)
        from peers.hf_trainer import train  # transformers takes seconds to import

        model, facts = train(job, scale, ready, folder)
    else:
        model, facts = _train_ours(job, scale, ready, folder)
    seconds = time.perf_counter() - start
    found = asdict(job) | facts | score(model, ready, scale) | {"seconds": round(seconds, 1)}
    write_json(_result_path(work, job), found)
    shutil.rmtree(folder, ignore_errors=True)
    return found


def score(model: LanguageModel, ready: Ready, scale: Scale) -> dict[str, Any]:
    """Return the loss over all held-out documents, in nats a token, weights in fp32."""
    shape = window_shape(scale.seq_len)
    by_source, nats, tokens = {}, 0.0, 0
    for name in ready.dataset.mix:
        one = score_shards(
            model.float().eval(), Shards.open(ready.folder, name, "validation"), shape
        )
        by_source[name] = one.to_dict()
        nats, tokens = nats + one.loss * one.tokens, tokens + one.tokens
    return {"loss": nats / tokens, "held_out_tokens": tokens, "by_source": by_source}


def overrides_of(job: Job, scale: Scale) -> list[str]:
    """Return what `yxanul train` is told beside the recipe."""
    rate = [] if job.rate is None else [f"optim.peak_lr={job.rate:g}"]
    budget = f"stages.0.budget={{tokens: {job.steps * scale.batch_tokens}}}"
    return [f"seed={job.seed}", budget, *our_arms(scale)[job.arm], *rate]


def _train_ours(
    job: Job, scale: Scale, ready: Ready, folder: Path
) -> tuple[LanguageModel, dict[str, Any]]:
    """Run `yxanul train`; a run that was cut short goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFolder(folder)
    shutil.copy(ready.tokenizer, run.tokenizer)
    done = yxanul("train", str(ready.recipe), *overrides_of(job, scale), "--out", str(folder))
    first = json.loads(run.metrics.read_text().splitlines()[0])
    facts = {"tokens": done["tokens"], "first_loss": first["train/loss"]}
    return open_bundle(folder, "last").model, facts


def _result_path(work: Path, job: Job) -> Path:
    return work / job.dataset / "results" / f"{job.key}.json"
