"""Forgetting benchmark: stories, then Python, with and without the gate and replay.

    python benchmarks/forgetting.py --seeds 0 1 2

Stage 1 trains on stories, stage 2 on the Python of the standard library; budgets are in steps, so
that every arm of a seed has the same stage 1. Arms differ in stage 2 only:

* nothing: no gate and no replay, as a plain loop would go on;
* gate: stories may become at most 1.2 times as perplexing as they were; a failed gate raises the
  replay of stories to 0.3 and trains half the budget more, twice at most;
* replay: 0.2 of the rows are stories from the start, with the same gate.

`longer` is `nothing` with the tokens that `gate` came to: what those tokens are worth for Python.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import report
from harness.process import yxanul
from harness.seeds import mean_of

RECIPE = """
extends: base
seed: {seed}
tokenizer: {{kind: bpe, vocab_size: 2048, sample_bytes: 1000000}}
data:
  sources:
    stories: {stories}
    python: {{kind: builtin, domain: python, documents: 400}}
model: {{preset: nano}}
train: {{batch_tokens: 1024, precision: fp32, device: cpu}}
stages:
  - name: stories
    mix: {{stories: 1.0}}
    budget: {{steps: {steps}}}
    curriculum: [{{seq_len: 256}}]
  - name: python
    mix: {{python: 1.0}}
    budget: {{steps: {later}}}
    curriculum: [{{seq_len: 256}}]
    optim: {{peak_lr: 1.5e-3}}
    {rest}
"""
NO_GATE = "gate: {default_rules: false}"
GATE = (
    "gate: {rules: [{metric: val/stories/perplexity, against: best, at_most: 1.2}]}\n"
    "    on_fail: {replay: {raise_to: 0.3, share: 0.5, times: 2}}"
)
ARMS = {"nothing": NO_GATE, "gate": GATE, "replay": f"replay: 0.2\n    {GATE}"}


def train(folder: Path, text: str) -> dict[str, Any]:
    """Run a recipe in a folder, or go on with it; return what it says of itself."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(text)
    # 3: the gate failed for good, which is a result.
    return yxanul("run", str(recipe), "--out", str(folder / "run"), codes=(0, 3))[0]


def figures_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return held-out bits per byte at both gates, and what stage 2 came to."""
    first, second = answer["stages"]
    return {
        "stories before": first["at_end"]["val/stories/bits_per_byte"],
        "stories after": second["at_end"]["val/stories/bits_per_byte"],
        "python": second["at_end"]["val/python/bits_per_byte"],
        "tokens": second["tokens"],
        "steps": second["steps"],
        "actions": [action["kind"] for action in second["actions"]],
        "passed": second["status"] == "passed",
    }


def arms_of(folder: Path, seed: int, steps: Sequence[int], stories: str) -> dict[str, Any]:
    """Train stage 1 once, and each arm's stage 2 from there."""

    def recipe(rest: str, later: int) -> str:
        return RECIPE.format(seed=seed, steps=steps[0], later=later, stories=stories, rest=rest)

    start = folder / "start"
    start.mkdir()
    only_first = recipe(NO_GATE, steps[1])
    train(start, only_first[: only_first.index("  - name: python")])
    found: dict[str, Any] = {}
    for arm in (*ARMS, "longer"):
        shutil.copytree(start, folder / arm)
        later = found["gate"]["steps"] if arm == "longer" else steps[1]
        found[arm] = figures_of(train(folder / arm, recipe(ARMS.get(arm, NO_GATE), later)))
        report.say(f"seed {seed}, {arm}: {found[arm]}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every arm for every seed, and write means."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs=2, default=[1200, 600])
    options = parser.parse_args(arguments)
    path = report.SHARED / "stories" / "tinystories.txt"
    stories = "{kind: builtin, domain: stories, documents: 4000}"
    if path.is_file():
        stories = f"{{kind: text, path: {path}}}"
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as name:
            for arm, one in arms_of(Path(name), seed, options.steps, stories).items():
                found.setdefault(arm, []).append(one)
    figures = ("stories before", "stories after", "python", "tokens")
    means = {
        arm: {figure: mean_of([one[figure] for one in runs]) for figure in figures}
        for arm, runs in found.items()
    }
    rows = [[arm, *(str(means[arm][figure]) for figure in figures)] for arm in found]
    report.show_table("held-out bits per byte", ["arm", *figures], rows)
    results = {
        "text": "TinyStories" if path.is_file() else "synthetic stories",
        "runs": found,
        "means": {arm: {f: asdict(mean) for f, mean in one.items()} for arm, one in means.items()},
    }
    report.write_results(options, "forgetting", results)


if __name__ == "__main__":
    main()
