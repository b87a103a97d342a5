"""Tasks of `yxanul eval`: options to results, and their tables."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yxanul.base.cache import cache_folder
from yxanul.base.errors import YxanulError
from yxanul.base.figures import finite
from yxanul.base.files import atomic_file, expand_home, read_json, write_json
from yxanul.base.interrupt import StopRequest
from yxanul.base.registry import lookup
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.bundle import open_bundle
from yxanul.cli.options import Device
from yxanul.cli.output import make_ui, print_result
from yxanul.cli.pictures import table
from yxanul.eval.compare import Difference, compare_results
from yxanul.eval.core import CORE, core_summary, evaluate_core
from yxanul.eval.run_tasks import (
    ALL_TASKS,
    SUITES,
    Result,
    TaskOptions,
    evaluate,
    split_by_file,
)
from yxanul.eval.tasks import is_perplexity
from yxanul.recipe import load_recipe
from yxanul.train.mixed_precision.weights import choose_device

_COLUMNS = {
    "accuracy": "acc", "accuracy_norm": "acc_norm", "accuracy_per_token": "acc (per token)",
    "bits_per_byte": "bits/byte",
    "exact_match": "exact", "exact_match_original": "exact (original)",
    "exact_match_strict": "exact (strict)", "exact_match_flexible": "exact (flexible)",
}  # fmt: skip
"""Names of metrics in tables, where they differ: those of lm-evaluation-harness."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Options of the command line."""

    tasks: str | None
    suite: str | None
    task_data: Path | None
    options: TaskOptions


@dataclass(frozen=True, slots=True)
class _Evaluated:
    run: Path
    step: int | None
    seq_len: int
    usual_seq_len: int
    """Of the checkpoint: the context without --seq-len."""
    results: Mapping[str, Result]
    missing: list[str]

    def to_dict(self, is_core: bool) -> dict[str, Any]:
        tasks = {name: result.to_dict() for name, result in self.results.items()}
        facts = {"run": str(self.run), "step": self.step, "seq_len": self.seq_len, "tasks": tasks}
        return facts | {"missing": self.missing} | (core_summary(self.results) if is_core else {})


def evaluate_tasks(
    runs: Sequence[Path],
    asked: TaskRequest,
    samples: Path | None,
    checkpoint: str,
    device: Device | None,
    as_json: bool,
) -> None:
    """Evaluate one model, or compare two."""
    if asked.tasks is not None and asked.suite is not None:
        raise YxanulError("--tasks and --suite exclude each other", hint="pass one of them")
    ui, is_core = make_ui(), asked.suite == "core"
    # One folder, so that models compared are asked the same questions.
    folder = asked.task_data or next(filter(None, map(_task_data_of, runs)), None)
    asked = replace(asked, task_data=None if folder is None else expand_home(str(folder)))
    if samples and samples.is_dir():
        raise YxanulError("--samples is a folder", got=samples, expected="a file to write")
    with StopRequest().handled():
        models = [_evaluate_run(run, asked, checkpoint, device, ui) for run in runs]
    facts = [model.to_dict(is_core) for model in models]
    for model, result in zip(models, facts, strict=True):
        _keep(model, result)
    if samples:
        _write_samples(samples, models)
    if len(models) == 1:
        print_result(facts[0], _table(models[0], is_core), as_json)
        return
    differences = compare_results(models[0].results, models[1].results)
    if not differences:
        tasks = " and ".join(", ".join(one.results) for one in models)
        raise YxanulError("the two models have no task in common", got=tasks)
    by_task = {
        task: {metric: one._asdict() for metric, one in by_metric.items()}
        for task, by_metric in differences.items()
    }
    text = _comparison(models, differences)
    print_result({"models": facts, "differences": by_task}, text, as_json)


def _keep(model: _Evaluated, result: dict[str, Any]) -> None:
    """Keep the results of a run in its folder, for reports: beside those of the same weights and
    context, of which those of more documents stay; of CORE all or none."""
    if model.step is None or not os.access(model.run, os.W_OK):
        return
    is_core = "centered" in result
    context = "" if model.seq_len == model.usual_seq_len else f"-context-{model.seq_len}"
    name = f"{'core' if is_core else 'tasks'}-{model.step:08}{context}.json"
    path, tasks = RunFolder(model.run).evaluations / name, result["tasks"]
    earlier = read_json(path)["tasks"] if path.is_file() else {}
    if is_core:
        if _num_documents(tasks) < _num_documents(earlier):
            return
    else:
        fewer = [n for n in tasks if tasks[n]["documents"] < earlier.get(n, tasks[n])["documents"]]
        tasks = earlier | tasks | {name: earlier[name] for name in fewer}
        missing = [name for name in result["missing"] if name not in tasks]
        result = result | {"tasks": tasks, "missing": missing}
    write_json(path, finite(result))


def _num_documents(tasks: dict[str, Any]) -> int:
    return sum(one["documents"] for one in tasks.values())


def _task_data_of(run: Path) -> str | None:
    """Return the recipe's `eval.task_data` of a run folder."""
    recipe = RunFolder(run).recipe
    return load_recipe(str(recipe)).eval.task_data if recipe.is_file() else None


def _evaluate_run(
    run: Path, asked: TaskRequest, checkpoint: str, device: Device | None, ui: Ui
) -> _Evaluated:
    bundle = open_bundle(run, checkpoint, device=choose_device(device or "auto"))
    folder, own = asked.task_data, bundle.step is not None and os.access(run, os.W_OK)
    cache = RunFolder(run).evaluations if own else cache_folder() / "evaluations"
    seq_len = asked.options.seq_len or bundle.seq_len
    options = replace(asked.options, seq_len=seq_len)
    model, tokenizer, missing = bundle.model, bundle.tokenizer, []
    if asked.suite == "core":
        if folder is None:
            raise YxanulError("CORE needs the files of its tasks", hint="pass --task-data DIR")
        results = evaluate_core(model, tokenizer, folder, options, cache, ui)
        missing = [label for label in CORE if label not in results]
    else:
        names = [name.strip() for name in (asked.tasks or "").split(",") if name.strip()]
        if asked.suite:
            names = _suite(asked.suite, options.allow_code, ui)
            names, missing = split_by_file({name: ALL_TASKS[name] for name in names}, folder)
        results = evaluate(model, tokenizer, names, folder, options, cache, ui)
    place = f"in {folder}" if folder else "on the hub"
    if missing and not results:
        files = "the names of files are in docs/evaluation.md"
        hint = files if folder else "pass --task-data DIR"
        raise YxanulError(f"no test sets {place}", expected=", ".join(missing), hint=hint)
    if not results:
        raise YxanulError("no task to evaluate", expected=f"some of {', '.join(ALL_TASKS)}")
    if missing:
        ui.warn(f"not evaluated, as there is no test set {place}: {', '.join(missing)}")
    return _Evaluated(run, bundle.step, seq_len, bundle.seq_len, results, missing)


def _suite(suite: str, allow_code: bool, ui: Ui) -> list[str]:
    names = list(lookup({**SUITES, "core": ()}, suite, "suite"))
    if suite == "all" and not allow_code:
        left_out = [name for name in names if ALL_TASKS[name].program]
        names = [name for name in names if name not in left_out]
        ui.warn(f"skipped, as they run generated code (see --allow-code): {', '.join(left_out)}")
    return names


def _write_samples(path: Path, models: Sequence[_Evaluated]) -> None:
    with atomic_file(path) as file:
        for model in models:
            for task, result in model.results.items():
                for sample in result.samples():
                    line = {"run": str(model.run), "task": task, **sample}
                    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _title(model: _Evaluated) -> str:
    weights = str(model.run) if model.step is None else f"{model.run}, step {model.step}"
    return f"{weights}, context {model.seq_len}"


def _table(model: _Evaluated, is_core: bool) -> str:
    rows = []
    for task, result in model.results.items():
        for metric, (value, stderr) in result.metrics.items():
            has_chance = not is_perplexity(metric) and result.chance is not None
            chance = f"{result.chance:.3f}" if has_chance else ""
            figures = [_figure(value), _figure(stderr), chance, f"{len(result.values(metric)):,}"]
            rows.append([task, _COLUMNS.get(metric, metric), *figures])
    lines = table(("task", "metric", "value", "error", "chance", "documents"), rows)
    core = _core_lines(core_summary(model.results)) if is_core else []
    return "\n".join([_title(model), *lines, *core])


def _core_lines(summary: dict[str, Any]) -> list[str]:
    if summary["core"] is not None:
        return [f"CORE {summary['core']:.4f}"]
    count, missing = len(summary["centered"]), ", ".join(summary["missing"])
    return [
        f"mean of {count} centered accuracies {summary['mean_of_present']:.4f}",
        f"this is not CORE, which has {len(CORE)} tasks; missing: {missing}",
    ]


def _figure(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def _comparison(models: Sequence[_Evaluated], differences: dict[str, dict[str, Difference]]) -> str:
    rows = []
    for task, by_metric in differences.items():
        for metric, found in by_metric.items():
            values = [_figure(model.results[task].metrics[metric].value) for model in models]
            interval = f"[{_figure(found.low)}, {_figure(found.high)}]"
            figures = [*values, _figure(found.difference), interval, "*" if found.is_clear else ""]
            rows.append([task, _COLUMNS.get(metric, metric), *figures])
    titles = [f"{name}: {_title(model)}" for name, model in zip("AB", models, strict=True)]
    lines = table(("task", "metric", "A", "B", "B - A", "95 % interval", ""), rows)
    return "\n".join([*titles, *lines, "* the interval leaves out zero"])
