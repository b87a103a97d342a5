"""False alarms: the alerts that healthy runs raise. There should be none.

    python benchmarks/false_alarms.py --work FOLDER    # about ten minutes on two cores

Every shipped recipe is shrunk: its stages, phases, factors on the rate, mixes and schedules stay;
the model becomes narrow, rows become short, sources become local text, and each stage gets the same
few hundred steps in all. Alerts about the machine are counted apart: another program causes them.
"""

from __future__ import annotations

import argparse
import json
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from harness import report
from harness.process import yxanul
from yxanul.monitor.alerts.table import TIMED
from yxanul.recipe import load_recipe
from yxanul.recipe.recipe import as_plain

RECIPES = (
    *("quickstart", "own-text", "tinystories", "nine-phase", "progressive-1b", "fp8-270m"),
    *("stage1-wikipedia", "stage1-rtx4090", "fineweb-ultra", "fineweb-ultra-24gb"),
    *("fineweb-ultra-h200", "four-stages"),
)
TEXTS = (
    "stories/tinystories.txt",
    "wiki/articles_30.txt",
    "web/c4_200.jsonl",
    "math/gsm8k_train.jsonl",
    "wiki/wikitext2_valid.txt",
)
MODEL = {"width": 32, "depth": 3, "num_heads": 2, "num_kv_heads": 1, "ffn_width": 64}
SHORTER, LONGEST, STEP_TOKENS = 16, 128, 512
"""Factor on the length of rows, their maximum, and about how many tokens a step has."""


def shrunk(name: str, texts: Path, steps: int) -> dict[str, Any]:
    """Return the small form of a shipped recipe, with `steps` steps a stage."""
    overrides = ["data.sources.mine.path=/"] if name == "own-text" else []
    recipe = as_plain(load_recipe(name, overrides))
    stages = [_shrunk_stage(stage, steps) for stage in recipe["stages"]]
    local = cycle(TEXTS)
    sources = {
        source: settings
        if settings["kind"] == "builtin"
        else {"kind": "text", "path": str(texts / next(local))}
        for source, settings in recipe["data"]["sources"].items()
        if any(source in _sources_of(stage) for stage in stages)
    }
    data = {"sources": sources, "validation_fraction": 0.02}
    schedule = recipe["optim"]["schedule"]
    if (warmup := schedule.get("warmup_steps")) is not None:
        schedule["warmup_steps"] = min(warmup, steps // 10)
    return {
        "tokenizer": {"kind": "bpe", "vocab_size": 1024},
        "data": data,
        "model": MODEL | {"max_seq_len": LONGEST, "init_std": recipe["model"]["init_std"]},
        "optim": recipe["optim"],
        "train": {"precision": "fp32", "batch_tokens": STEP_TOKENS},
        "stages": stages,
        "eval": {"every_steps": 100, "max_tokens": 8192, "sample_prompts": []},
    }


def _sources_of(stage: dict[str, Any]) -> set[str]:
    return {
        *stage.get("mix", {}),
        *(name for p in stage["curriculum"] for name in p.get("mix") or {}),
    }


def _shrunk_stage(stage: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return a stage whose phases have their shares of `steps` steps."""
    phases = stage["curriculum"]
    starts = [phase.get("from_step") or 0 for phase in phases]
    total = stage["budget"].get("steps") or 2 * max(starts)
    small = []
    for number, phase in enumerate(phases):
        seq_len = min(LONGEST, max(8, phase["seq_len"] // SHORTER))
        kept = {k: phase[k] for k in ("lr_scale", "grad_clip", "mix") if phase.get(k) is not None}
        kept |= {"seq_len": seq_len, "device_batch_size": max(1, STEP_TOKENS // seq_len)}
        if any(starts):
            kept["from_step"] = round(starts[number] / total * steps)
        else:
            whole = sum(one.get("share") or one.get("tokens") or 1 for one in phases)
            kept["share"] = (phase.get("share") or phase.get("tokens") or 1) / whole
        small.append(kept)
    kept = {key: stage[key] for key in ("name", "mix", "replay", "optim") if stage.get(key)}
    if schedule := kept.get("optim", {}).get("schedule"):
        schedule["warmup_steps"] = min(schedule.get("warmup_steps") or 0, steps // 10)
    return kept | {
        "budget": {"steps": steps},
        "curriculum": small,
        "gate": {"default_rules": False},
    }


def alerts_of(metrics: Path) -> list[dict[str, Any]]:
    """Return the alerts of a run."""
    lines = map(json.loads, metrics.read_text().splitlines())
    return [line["alert"] | {"step": line["step"]} for line in lines if "alert" in line]


def main() -> None:
    """Train every recipe in its small form and count the alerts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--texts", type=Path, default=Path("shared/data"), help="local text")
    parser.add_argument("--steps", type=int, default=300, help="steps of each stage")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.recipes:
        path, out = options.work / f"{name}.yaml", options.work / name
        path.write_text(yaml.safe_dump(shrunk(name, options.texts.resolve(), options.steps)))
        answer, seconds = yxanul("run", str(path), "--out", str(out))
        found = alerts_of(out / "metrics.jsonl")
        machine = [alert["name"] for alert in found if alert["name"] in TIMED]
        false = [f"{a['name']} at {a['step']}" for a in found if a["name"] not in TIMED]
        for alert in found:
            report.say(f"{name}: step {alert['step']}: {alert['name']}: {alert['seen']}")
        rows.append(
            [name, f"{answer['steps']:,}", f"{seconds:.0f}", _listed(false), _listed(machine)]
        )
    columns = ["recipe", "steps", "seconds", "false alarms", "about the machine"]
    report.show_table("alerts of healthy runs", columns, rows)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    main()
