"""Signal benchmark: which tasks tell a trained small model from an untrained one, beyond seeds.

    python benchmarks/task_signal.py --work FOLDER           # an hour on two cores; resumes
    python benchmarks/task_signal.py --work FOLDER --report  # the table of the runs done so far

Every run trains one preset with one seed on the same mix of stories, encyclopedia, web, worked
mathematics and Python, with one thread. All tasks are evaluated before the first step, in the
middle and at the end, on the same documents. The signal of a task is what training gains, end
against start, divided by the spread (standard deviation) of the end between seeds: below 3 a
difference between two models may be one of seeds. A gain also has to be three standard errors over
documents, else more documents are needed to see it. Perplexities are compared in logs.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness import report
from harness.process import environment, yxanul
from harness.texts import split_at_titles, write_jsonl
from yxanul.base.metric_names import is_better
from yxanul.base.run_folder import RunFolder

LIMITS = {
    "blimp": 1340, "lambada_openai": 400, "sciq": 500, "arc_easy": 500, "arc_challenge": 500,
    "hellaswag": 300, "piqa": 500, "winogrande": 500, "winograd": 273, "openbookqa": 500,
    "copa": 100, "commonsense_qa": 500, "boolq": 200, "bigbench_qa_wikidata": 300,
    "arithmetic": 300, "gsm8k_gold": 200, "humaneval_gold": 164,
}  # fmt: skip
"""Documents of each task."""
PRESETS = {"nano": 2_000_000, "5x192": 2_000_000, "micro": 1_000_000}
"""Tokens by preset: what an hour has time for."""
LEAST_SIGNAL = 3.0


def recipe_of(folder: Path, shared: Path) -> dict[str, Any]:
    """Return the recipe of all runs."""
    wiki = (shared / "wiki" / "articles_30.txt").read_text(encoding="utf-8").splitlines()
    wiki += split_at_titles((shared / "wiki" / "wikitext2_valid.txt").read_text("utf-8"))
    write_jsonl(folder / "wiki.jsonl", ({"text": one} for one in wiki if one.strip()))
    solved = "Question: {question}\nAnswer: {answer}"
    gsm8k = {"kind": "jsonl", "path": str(shared / "math" / "gsm8k_train.jsonl")}
    web = {"kind": "jsonl", "path": str(shared / "web" / "c4_200.jsonl"), "text_column": "text"}
    sources = {
        "stories": {"kind": "text", "path": str(shared / "stories" / "tinystories.txt")},
        "wiki": {"kind": "jsonl", "path": str(folder / "wiki.jsonl"), "text_column": "text"},
        "web": web,
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


def prepared(options: argparse.Namespace) -> Path:
    """Train the tokenizer and encode the text, once; return the folder."""
    folder: Path = options.work
    if not (folder / "made").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        recipe = recipe_of(folder, options.shared)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        yxanul("prepare", str(folder / "recipe.yaml"), "--out", str(folder / "made"))
    return folder


def train(preset: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one model; return the metrics of its tasks at the start and at the end."""
    folder, began = prepared(options), time.perf_counter()
    run = folder / f"{preset}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    shutil.copy(RunFolder(folder / "made").tokenizer, RunFolder(run).tokenizer)
    tokens = PRESETS[preset]
    given = (f"model.preset={preset}", f"seed={seed}", f"stages.0.budget={{tokens: {tokens}}}")
    env = environment(options.threads or 1)
    found, _ = yxanul("train", str(folder / "recipe.yaml"), *given, "--out", str(run), env=env)
    stage = found["stages"][0]
    shutil.rmtree(run)
    facts = {"preset": preset, "seed": seed, "tokens": stage["tokens"]}
    seconds = round(time.perf_counter() - began, 1)
    return facts | {"start": stage["at_start"], "end": stage["at_end"], "seconds": seconds}


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
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=report.SHARED)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    results = options.work / "results"
    results.mkdir(parents=True, exist_ok=True)
    for preset in () if options.report else options.presets:
        for seed in options.seeds:
            path = results / f"{preset}-{seed}.json"
            if not path.exists():
                found = train(preset, seed, options)
                path.write_text(json.dumps(found))
                report.say(f"{path.stem}: {found['seconds']} s")
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
    machine = report.describe_machine(options.threads or 1)
    told = {"machine": machine, "limits": LIMITS, "runs": runs, "signals": found}
    report.write_results(options.out, "task-signal", "cpu", told)


if __name__ == "__main__":
    main()
