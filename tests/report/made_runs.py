"""Run folders made for the tests of reports: any shape, in milliseconds, with known numbers."""

import json
import math
from pathlib import Path

import yaml

PROMPT = "Once"


def loss_at(step):
    return 1 + 4 * math.exp(-step / 200)


def step_line(step, phase=0, **more):
    return {
        "step": step,
        "train/loss": loss_at(step),
        "optim/learning_rate": 0.001,
        "optim/gradient_norm": 1.0,
        "perf/total_step_time": 0.5,
        "perf/tokens_per_second": 200.0,
        "perf/mfu": 0.25,
        "memory/max_allocated_gb": 1.5,
        "data/tokens_seen": 100 * step,
        "data/sequence_length": 32 << phase,
        "curriculum/phase": phase,
    } | more


def entry(name, first_step, steps, status="passed", **more):
    passed = status == "passed"
    finding = {
        "metric": f"val/{name}/bits_per_byte",
        "against": None,
        "measured": 0.8,
        "bound": "at_most",
        "limit": 0.9 if passed else 0.5,
        "passed": passed,
    }
    ended = status != "running"
    return {
        "name": name,
        "status": status,
        "first_step": first_step,
        "steps": steps,
        "tokens": 100 * steps,
        "minutes": None,
        "at_start": {f"val/{name}/bits_per_byte": 3.0},
        "at_end": {f"val/{name}/bits_per_byte": 0.8} if ended else {},
        "verdict": {"passed": passed, "findings": [finding]} if ended else None,
    } | more


def write_lines(run: Path, lines):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)


def make_run(run: Path, entries, lines, prompts=(PROMPT,), **recipe):
    """Write a run with these ledger entries and lines of metrics."""
    run.mkdir(parents=True)
    tree = {
        "description": "made for a test",
        "data": {"sources": {one["name"]: {"kind": "builtin", "domain": one["name"]}
                             for one in entries}},
        "stages": [{"name": one["name"], "budget": {"steps": one["steps"]}} for one in entries],
        "eval": {"sample_prompts": list(prompts)},
    } | recipe  # fmt: skip
    (run / "recipe.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    ledger = {"schema_version": 1, "decisions": {"precision": "fp32"}, "stages": entries}
    (run / "ledger.json").write_text(json.dumps(ledger))
    environment = {"yxanul": "0.1.0", "torch": "2.13.0", "processor": "a processor", "cores": 2}
    (run / "environment.json").write_text(json.dumps(environment))
    write_lines(run, lines)
    return run


def whole_run(run: Path, steps=300, **more):
    """Write a run of one stage with evaluations, samples and heat maps."""
    lines = []
    for step in range(1, steps + 1):
        lines.append(step_line(step, phase=int(step > steps // 2)))
        if step % (steps // 6) == 0:
            lines.append({"step": step, "val/one/bits_per_byte": 4 / (1 + step / steps)})
            lines.append({"step": step, "samples": f"{PROMPT} upon {step} times"})
            lines.append({"step": step} | {f"attention_entropy/{n}": n / 4 for n in range(4)})
    return make_run(run, [entry("one", 0, steps)], lines, **more)
