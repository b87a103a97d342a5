"""Signal benchmark: which tasks tell a trained small model from an untrained one, beyond seeds.

    python benchmarks/task_signal.py --work FOLDER           # hours on two cores; resumes
    python benchmarks/task_signal.py --work FOLDER --report  # the table of the runs done so far

Every run trains one preset with one seed on the same mix of stories, encyclopedia, web, worked
mathematics and Python, with one thread. All tasks are evaluated before the first step, in the
middle and at the end, on the same documents. The signal of a task is what training gains, end
against start, divided by the spread (standard deviation) of the end between seeds: below 3 a
difference between two models may be one of seeds. A gain also has to be three standard errors over
documents, else more documents are needed to see it. Perplexities are compared in logs.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from harness import report
from harness.texts import Prepared, jsonl_source, prepare, stories, wiki
from yxanul.base.metric_names import is_better

LIMITS = {
    "blimp": 1340, "lambada_openai": 400, "sciq": 500, "arc_easy": 500, "arc_challenge": 500,
    "hellaswag": 300, "piqa": 500, "winogrande": 500, "winograd": 273, "openbookqa": 500,
    "copa": 100, "commonsense_qa": 500, "boolq": 200, "bigbench_qa_wikidata": 300,
    "arithmetic": 300, "gsm8k_gold": 200, "humaneval_gold": 164,
}  # fmt: skip
"""Documents of each task."""
PRESETS = {"nano": 2_000_000, "5x192": 2_000_000, "micro": 1_000_000, "mini": 500_000}
"""Tokens by preset: what minutes have time for, and for `mini` three quarters of an hour a seed."""
LEAST_SIGNAL = 3.0


def recipe_of(folder: Path, shared: Path) -> dict[str, Any]:
    """Return the recipe of all runs."""
    solved = "Question: {question}\nAnswer: {answer}"
    gsm8k = {"kind": "jsonl", "path": str(shared / "math" / "gsm8k_train.jsonl")}
    sources = {
        **stories(shared, folder),
        **wiki(shared, folder),
        "web": jsonl_source(shared / "web" / "c4_200.jsonl"),
        "math": gsm8k | {"template": solved},
        "python": {"kind": "builtin", "domain": "python", "documents": 400},
    }
    mix = {"stories": 0.4, "wiki": 0.3, "web": 0.1, "math": 0.1, "python": 0.1}
    stage = {"name": "all", "mix": mix, "budget": {"steps": 1}, "curriculum": [{"seq_len": 256}]}
    targets = [{"metric": "task/blimp/accuracy", "against": "start", "at_least": 1}]
    return {
        "extends": "base",
        "tokenizer": {"kind": "bpe", "vocab_size": 4096},
        "data": {"sources": sources, "folder": str(folder / "shards")},
        "train": {"batch_tokens": 2048, "checkpoint": {"every_steps": None, "keep": 1}},
        "stages": [stage | {"gate": {"default_rules": False, "targets": targets}}],
        "eval": {
            "every_steps": 10**9,
            "task_data": str(shared),
            "tasks": [{"name": name, "limit": limit} for name, limit in LIMITS.items()],
        },
        "monitor": {"alerts": {"all": "off"}},
    }


def train(preset: str, seed: int, ready: Prepared, threads: int) -> dict[str, Any]:
    """Train one model; return the metrics of its tasks at the start and at the end."""
    budget = f"stages.0.budget={{tokens: {PRESETS[preset]}}}"
    given = (f"model.preset={preset}", f"seed={seed}", budget)
    stage = ready.train(ready.recipe.parent / f"{preset}-{seed}", given, threads)
    facts = {"preset": preset, "seed": seed, "tokens": stage["tokens"]}
    ends = {"start": stage["at_start"], "end": stage["at_end"]}
    return facts | ends | {"seconds": stage["seconds"]}


def signals(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the gain, spread and signal of each metric of a task, by preset."""
    for preset in dict.fromkeys(run["preset"] for run in runs):
        own = [run for run in runs if run["preset"] == preset]
        names = [name for name in own[0]["end"] if f"{name}_stderr" in own[0]["end"]]
        for name in names if len(own) > 1 else ():
            in_logs = name.endswith("perplexity")
            ends, starts = (
                [math.log(run[when][name]) if in_logs else run[when][name] for run in own]
                for when in ("end", "start")
            )
            end, start = statistics.fmean(ends), statistics.fmean(starts)
            gain = abs(end - start) if is_better(name, end, than=start) else -abs(end - start)
            spread = statistics.stdev(ends)
            errors = [run["end"][f"{name}_stderr"] for run in own]
            if in_logs:
                errors = [one / run["end"][name] for one, run in zip(errors, own, strict=True)]
            error = statistics.fmean(errors)
            signal = gain / spread if spread else 0.0
            shown = signal >= LEAST_SIGNAL and gain >= 3 * error
            yield {
                "preset": preset, "metric": name, "start": start, "end": end, "spread": spread,
                "stderr": error, "signal": signal, "shown": shown,
            }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the runs that are not done yet, and show the table."""
    parser = report.make_parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=report.SHARED)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    results = options.work / "results"
    if not options.report:
        ready = prepare(options.work, recipe_of(options.work, options.shared))
        for preset, seed in product(options.presets, options.seeds):
            do = partial(train, preset, seed, ready, options.threads)
            found = report.kept(results / f"{preset}-{seed}.json", do)
            report.say(f"{preset}-{seed}: {found['seconds']} s")
    known = [results / f"{preset}-{seed}.json" for preset in PRESETS for seed in options.seeds]
    runs = [json.loads(path.read_text()) for path in known if path.exists()]
    found = list(signals(runs))
    figures = ("start", "end", "spread", "stderr", "signal")
    for preset in dict.fromkeys(one["preset"] for one in found):
        rows = [
            [one["metric"], *(f"{one[key]:.4g}" for key in figures), "*" if one["shown"] else ""]
            for one in found
            if one["preset"] == preset
        ]
        report.show_table(preset, ["metric", *figures, "shown"], rows)
    told = {"limits": LIMITS, "runs": runs, "signals": found}
    report.write_results(options, "task-signal", told)


if __name__ == "__main__":
    main()
