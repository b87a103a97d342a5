"""Facts of runs as JSON data, read from their folders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.figures import finite
from yxanul.base.files import is_locked, sha256_of
from yxanul.base.run_folder import RunFolder
from yxanul.model.config import ModelSettings
from yxanul.model.count import parameter_table
from yxanul.report.curves import chart_list, curves_of, other_charts, spans_of
from yxanul.report.files import MetricsFile, flattened, read_mapping, read_recipe
from yxanul.report.sources import source_facts
from yxanul.report.tasks import tasks_of
from yxanul.report.verdicts import headline, stage_facts

SCHEMA_VERSION = 1
POINTS = 600
MOST_ALERTS = 100
MOST_STEPS, MOST_PROMPTS, MOST_CHARS = 12, 6, 1_000
"""Of the samples that are shown."""


class RunReader:
    """The facts of one run; reading them again costs only what was written since."""

    def __init__(self, folder: Path, is_running: bool | None = None):
        """Initialize; without `is_running`, a run is running if a process has locked it."""
        self.run, self._is_running = RunFolder(folder), is_running
        self.run.check_exists()
        if not (self.run.recipe.is_file() or self.run.ledger.is_file()):
            raise YxanulError(
                f"{folder} is not a run", expected="a folder with recipe.yaml and ledger.json"
            )
        self._metrics = MetricsFile(self.run.metrics)

    def facts(self, points: int = POINTS) -> dict[str, Any]:
        """Return all facts of the run, curves with at most `points` points; null for figures that
        are not finite."""
        run = self.run
        recipe, text = read_recipe(run.recipe)
        ledger = read_mapping(run.ledger)
        status, stages = self.status()
        metrics = self._metrics
        state = self._newest_state()
        environment = read_mapping(run.environment)
        sources = recipe.get("data", {}).get("sources", {})
        read = state.get("progress", {}).get("cursor", {}).get("positions", {})
        folder = run.data(recipe.get("data", {}).get("folder"))
        facts = {
            "name": run.name,
            "folder": str(run.path),
            "description": recipe.get("description", ""),
            **status,
            "stages": stages,
            "spans": spans_of(metrics, stages),
            "model": _model(recipe, state, folder),
            "data": source_facts(sources, folder, read),
            "curves": curves_of(metrics, points),
            "alerts": _alerts(metrics),
            "samples": _samples(metrics, recipe.get("eval", {}).get("sample_prompts") or []),
            "tasks": tasks_of(metrics, stages, run.evaluations),
            "cost": _cost(metrics, environment),
            "environment": environment,
            "decisions": ledger.get("decisions", {}),
            "checksums": _checksums(run),
            "reproduce": _reproduction(run, recipe, ledger, environment),
            "reproduces_exactly": not any(stage["minutes"] for stage in stages),
            "recipe": text,
            "settings": {key: str(value) for key, value in flattened(recipe).items()},
        }
        return finite(facts)

    def status(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the run's status with a sentence that says it, and the facts of its stages."""
        metrics, recipe = self.update(), read_recipe(self.run.recipe)[0]
        clock = metrics.clock()
        entries = read_mapping(self.run.ledger).get("stages", [])
        stages = [stage_facts(entry, clock) for entry in entries if isinstance(entry, dict)]
        planned = [str(one["name"]) for one in recipe.get("stages") or () if "name" in one]
        return headline(stages, planned, self._alive(), int(clock.last["step"])), stages

    def _alive(self) -> bool:
        return is_locked(self.run.path) if self._is_running is None else self._is_running

    def state(self) -> str:
        """Return a text that changes whenever the metrics, the ledger or the process do."""
        files = (self.run.metrics, self.run.ledger)
        times = (path.stat().st_mtime_ns if path.exists() else 0 for path in files)
        return "-".join(f"{time:x}" for time in (*times, self._alive()))

    def update(self) -> MetricsFile:
        """Return the metrics, read to their end."""
        self._metrics.update()
        return self._metrics

    def _newest_state(self) -> dict[str, Any]:
        """Return the newest checkpoint's state, without its tensors."""
        folders = sorted(self.run.checkpoints.glob("step-*"), reverse=True)
        return next(filter(None, (read_mapping(folder / "state.json") for folder in folders)), {})


def report_facts(readers: Sequence[RunReader], points: int = POINTS) -> dict[str, Any]:
    """Return the facts of one or several runs, and where their recipes differ."""
    runs = [reader.facts(max(30, points // len(readers))) for reader in readers]
    names, others = (
        list(dict.fromkeys(name for run in runs for name in run["curves"][kind]))
        for kind in ("series", "others")
    )
    settings = [run.pop("settings") for run in runs]
    return page_facts("runs", runs, chart_list(names, compared=len(runs) > 1)) | {
        "other_charts": other_charts(others),
        "differences": differences(settings),
    }


def page_facts(
    kind: str, runs: list[dict[str, Any]], charts: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the facts of a page with its version and date."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "yxanul": version("yxanul"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": runs,
        "charts": charts,
        "other_charts": [],
        "differences": [],
    }


def differences(settings: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the keys in which recipes differ, with the value of each; None: not set."""
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [{"key": key, "values": [one.get(key) for one in settings]} for key in keys]
    return [row for row in rows if len(set(row["values"])) > 1]


def _model(recipe: Mapping[str, Any], state: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the model's shape and parameters; {} if they are not known."""
    settings = dict(state.get("model") or recipe.get("model") or {})
    outlines = (read_mapping(path).get("header", {}) for path in folder.glob("*/outline.json"))
    vocab_size = next((header.get("vocab_size") for header in outlines if header), None)
    if not (vocab_size or settings.get("vocab_size")):
        return {}
    try:
        model = ModelSettings.model_validate(settings).resolved(vocab_size)
    except (ValueError, YxanulError):  # settings of another version
        return {}
    return model_facts(model, (recipe.get("tokenizer") or {}).get("kind"))


def model_facts(model: ModelSettings, tokenizer: str | None) -> dict[str, Any]:
    """Return a model's parameters by part, and its shape."""
    table = parameter_table(model)
    shape = ("width", "depth", "num_heads", "num_kv_heads", "ffn_width", "max_seq_len")
    return {
        "preset": model.preset,
        "tokenizer": tokenizer,
        "vocab_size": model.vocab_size,
        "parameters": sum(table.values()),
        "parts": table,
        "shape": {name: getattr(model, name) for name in shape},
    }


def _alerts(metrics: MetricsFile) -> list[dict[str, Any]]:
    """Return the first alerts, each with its place on every axis."""
    alerts, keys = metrics.alerts[:MOST_ALERTS], ("name", "severity", "seen", "cause", "advice")
    places = metrics.clock().places([alert["step"] for alert in alerts])
    return [
        {key: str(alert.get(key, "")) for key in keys} | place
        for alert, place in zip(alerts, places, strict=True)
    ]


def _cost(metrics: MetricsFile, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return time, tokens and model FLOPs of the training steps."""
    last, devices = metrics.clock().last, int(environment.get("devices") or 1)
    peak = (environment.get("peak_flops") or {}).get("flops_per_second")
    (timed, seconds), (used, mfu) = map(metrics.series, ("perf/total_step_time", "perf/mfu"))
    flops = None
    if peak and len(timed) == len(used):
        flops = float(np.nansum(seconds * mfu)) * peak * devices
    total = last["seconds"]
    memory = metrics.series("memory/max_allocated_gb")[1]
    return {
        "steps": last["step"],
        "tokens": last["tokens"],
        "seconds": total,
        "tokens_per_second": last["tokens"] / total if total else None,
        "devices": devices,
        "device_hours": total * devices / 3600,
        "model_flops": flops,
        "peak_memory_gib": float(np.nanmax(memory)) if np.isfinite(memory).any() else None,
    }


def _checksums(run: RunFolder) -> list[dict[str, Any]]:
    """Return the SHA-256 of the best and the newest weights as the checkpoints record it, and of
    small files."""
    best = read_mapping(run.path / "best").get("step")
    folders = {path.name: path for path in sorted(run.checkpoints.glob("step-*"))}
    newest, rows = next(reversed(folders), None), []
    for name, folder in folders.items():
        is_best = name == f"step-{best:08}" if isinstance(best, int) else False
        weights = read_mapping(folder / "manifest.json").get("files", {}).get("model.safetensors")
        if weights and (is_best or name == newest):
            rows.append(
                {
                    "file": f"checkpoints/{name}/model.safetensors",
                    "note": "best" if is_best else "newest",
                    "bytes": weights.get("bytes"),
                    "sha256": weights.get("sha256"),
                }
            )
    for path in (run.tokenizer, run.recipe):
        if path.is_file():
            size, digest = path.stat().st_size, sha256_of(path)
            rows.append({"file": path.name, "note": "", "bytes": size, "sha256": digest})
    return rows


def _samples(metrics: MetricsFile, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the samples of a few steps for each prompt: first and last, and evenly between."""
    texts = {step: text for step, name, text in metrics.notes
             if name == "samples" and isinstance(text, str)}  # fmt: skip
    steps = sorted(texts)
    if len(steps) > MOST_STEPS:
        last = len(steps) - 1
        steps = [steps[round(n * last / (MOST_STEPS - 1))] for n in range(MOST_STEPS)]
    prompts = [prompt for prompt in prompts if prompt][:MOST_PROMPTS]
    found = {prompt: [] for prompt in prompts or [""]}
    tokens = metrics.clock().at(steps)["tokens"]
    for step, seen in zip(steps, tokens, strict=True):
        for prompt, text in _by_prompt(texts[step], prompts).items():
            found[prompt].append({"step": step, "tokens": seen, "text": text})
    return [{"prompt": prompt, "texts": texts} for prompt, texts in found.items() if texts]


def _by_prompt(text: str, prompts: Sequence[str]) -> dict[str, str]:
    """Split the samples of a step, each of which begins with its prompt; drop the prompts.

    What comes before the first of these prompts is of a prompt that is not shown.
    """
    each = "".join(rf"(?:\n\n{re.escape(prompt)}(.*?))?" for prompt in prompts)
    pattern = rf"(?:.*?(?=\n\n))??{each}" if prompts else r"\n\n(.*)"
    found = re.fullmatch(pattern, f"\n\n{text}", re.DOTALL)
    pairs = zip(prompts or [""], found.groups() if found else (), strict=False)
    return {prompt: _cut(sample.rstrip()) for prompt, sample in pairs if sample is not None}


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + " ..."


def _reproduction(
    run: RunFolder,
    recipe: Mapping[str, Any],
    ledger: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> list[str]:
    """Return three lines for a shell that train the same model again.

    What was measured on the machine, such as the tokens that minutes came to, is fixed by
    overrides.
    """
    versions = [
        f"{package}=={environment[package]}"
        for package in ("yxanul", "torch")
        if environment.get(package)
    ]
    again = f"{run.name}-again"
    overrides = []
    if precision := ledger.get("decisions", {}).get("precision"):
        overrides.append(f"train.precision={precision}")
    measured = {stage.get("name"): stage for stage in ledger.get("stages", [])}
    for index, stage in enumerate(recipe.get("stages", [])):
        entry = measured.get(stage.get("name"))
        if entry and (stage.get("budget") or {}).get("minutes") is not None:
            overrides.append(f"stages.{index}.budget={{tokens: {entry.get('tokens')}}}")
    command = ["yxanul", "run", f"{again}.yaml", *overrides, "--out", f"runs/{again}"]
    return [
        shlex.join(["pip", "install", *(versions or ["yxanul"])]).replace("+cpu", ""),
        f"# {again}.yaml: the recipe below, which is the run's recipe.yaml",
        shlex.join(command),
    ]
