"""Reports as Markdown, and model cards for the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

Facts = Mapping[str, Any]


def as_markdown(report: Facts) -> str:
    """Return the facts of runs as Markdown, without curves."""
    blocks = [block for run in report["runs"] for block in _run(run)]
    if report["differences"]:
        names = [escaped(run["name"]) for run in report["runs"]]
        rows = [[f"`{row['key']}`", *map(_text, row["values"])] for row in report["differences"]]
        blocks += ["# How the recipes differ", table(["key", *names], rows)]
    return "\n\n".join(blocks) + "\n"


def _run(run: Facts) -> Iterator[str]:
    yield f"# {escaped(run['name'])}"
    if run["description"]:
        yield escaped(run["description"])
    yield f"**{run['status']}**: {escaped(run['sentence'])}"
    for stage in run["stages"]:
        yield f"## Stage {escaped(stage['name'])}: {stage['status']}"
        size = f"{stage['steps']:,} steps, {stage['tokens'] or 0:,} tokens"
        yield f"{size}, {_time(stage['seconds'])}"
        if stage["findings"]:
            rows = [
                [escaped(one["label"]), one["measured"], one["limit"], _outcome(one)]
                for one in stage["findings"]
            ]
            yield table(["gate", "measured", "has to be", ""], rows)
        yield from (f"* {escaped(action)}" for action in stage["actions"])
        if stage["domains"]:
            yield _scores(stage)
    if run["alerts"]:
        yield "## Alerts"
        yield "\n".join(
            f"* step {one['step']:,}: {escaped(one['seen'])}; likely {escaped(one['cause'])};"
            f" try {escaped(one['advice'])}"
            for one in run["alerts"]
        )
    if run["samples"]:
        yield "## What it writes"
        yield from (_sample(some) for some in run["samples"])
    yield from _tasks(run)
    yield from _data(run)
    yield "## Cost and machine"
    yield _cost(run)
    yield "## How to reproduce it"
    yield fenced("\n".join(run["reproduce"]), "sh")
    if run["checksums"]:
        rows = [[f"`{one['file']}`", one["note"], f"`{one['sha256']}`"] for one in run["checksums"]]
        yield table(["file", "", "SHA-256"], rows)
    if run["recipe"]:
        yield fenced(run["recipe"].rstrip(), "yaml")


def model_card(run: Facts) -> str:
    """Return a model card for the hub: metadata, and the facts that concern a user of the model.

    The licence of the weights is left to whoever publishes them.
    """
    hub = [one["origin"].split(": ")[1].split(",")[0] for one in run["data"]
           if one["origin"].startswith("Hugging Face: ")]  # fmt: skip
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": domain["name"], "type": "held-out"},
            "metrics": [{"type": "bits_per_byte", "value": round(domain["after"], 4)}],
        }
        for domain in (run["stages"][-1]["domains"] if run["stages"] else [])
        if domain["after"] is not None
    ]
    header: dict[str, Any] = {"library_name": "yxanul", "pipeline_tag": "text-generation"}
    if hub:
        header["datasets"] = hub
    if results:
        header["model-index"] = [{"name": run["name"], "results": results}]
    blocks = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {escaped(run['name'])}",
        *([escaped(run["description"])] if run["description"] else []),
        _model(run["model"]),
        "A small language model trained from scratch with yxanul. It continues text in the style"
        " of what it was trained on; it knows little, and it has not been made safe or truthful.",
        *_data(run),
        "## Evaluation",
        f"{escaped(run['sentence'])}",
        *(f"Stage {escaped(one['name'])}: {_scores(one)}" for one in run["stages"]
          if one["domains"]),
        *_tasks(run),
        "## Training",
        _cost(run),
        fenced("\n".join(run["reproduce"]), "sh"),
        *([fenced(run["recipe"].rstrip(), "yaml")] if run["recipe"] else []),
    ]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _model(model: Facts) -> str:
    if not model.get("parameters"):
        return "The model's parameters could not be counted."
    shape = ", ".join(f"{name.replace('_', ' ')} {size:,}" for name, size in model["shape"].items())
    return f"{model['parameters']:,} parameters: {shape}; vocabulary of {model['vocab_size']:,}."


def _outcome(finding: Facts) -> str:
    if finding["passed"]:
        return "passed"
    return "not reached" if finding["is_target"] else "**failed**"


def _scores(stage: Facts) -> str:
    scores = []
    for one in stage["domains"]:
        before = "" if one["before"] is None else f"{one['before']:.4f} → "
        after = "not measured" if one["after"] is None else f"{one['after']:.4f}"
        scores.append(f"{escaped(one['name'])} {before}{after}")
    return f"bits per byte on held-out text: {'; '.join(scores)}"


def _sample(some: Facts) -> str:
    first, last = some["texts"][0], some["texts"][-1]
    parts = [f"### {escaped(some['prompt']) or 'No prompt'}"]
    for one in (first, last) if last is not first else (first,):
        parts += [f"Step {one['step']:,}:", fenced(one["text"], "text")]
    return "\n\n".join(parts)


def _tasks(run: Facts) -> Iterator[str]:
    if run["tasks"]:
        yield "## Tasks"
        rows = [
            [one["task"], one["metric"], f"{one['value']:.4f}", _text(one.get("stderr")),
             _text(one.get("chance")), _text(one.get("documents"))]
            for one in run["tasks"]
        ]  # fmt: skip
        yield table(["task", "metric", "value", "standard error", "chance", "documents"], rows)


def _data(run: Facts) -> Iterator[str]:
    if not run["data"]:
        return
    yield "## What it was trained on"
    rows = [
        [escaped(one["name"]), escaped(one["origin"]), one["licence"] or "not known here",
         _text(one["documents"]), _text(one["tokens"]), _text(one["tokens_read"]),
         _text(one["epochs"])]
        for one in run["data"]
    ]  # fmt: skip
    yield table(
        ["source", "text", "licence", "documents", "tokens", "tokens trained on", "epochs"], rows
    )
    dropped = [
        [escaped(one["name"]), f"{cause['documents']:,}", cause["reason"] or cause["cause"]]
        for one in run["data"]
        for cause in one["dropped"]
    ]
    if dropped:
        yield "Left out:"
        yield table(["source", "documents", "why: the document"], dropped)


def _cost(run: Facts) -> str:
    cost, machine = run["cost"], run["environment"]
    speed = cost["tokens_per_second"]
    parts = [
        f"{cost['tokens']:,} tokens in {cost['steps']:,} steps and {_time(cost['seconds'])}",
        f"{speed:,.0f} tokens/s" if speed else "",
        f"{cost['devices']} x {machine.get('processor') or 'unknown processor'}",
        *(f"{name} {machine[name]}" for name in ("yxanul", "torch", "python") if name in machine),
    ]
    return ", ".join(filter(None, parts)) + "."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)


def fenced(text: str, language: str) -> str:
    """Return a code block; its fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def escaped(text: str) -> str:
    """Return a text in which nothing is Markdown or HTML."""
    text = re.sub(r"([\\`*_\[\]<>#~&])", r"\\\1", " ".join(str(text).split()))
    return re.sub(r"^(\d*)([-+.)]) ", r"\1\\\2 ", text)  # no list


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else escaped(str(value))


def _time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
