"""Verdicts of a run's stages and gates, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from yxanul.base.figures import distinct
from yxanul.base.metric_names import domain_of
from yxanul.report.files import Clock

FIGURES = {
    "bits_per_byte": "bits per byte",
    "perplexity": "perplexity",
    "loss": "loss",
    "accuracy_norm": "accuracy, normalised,",
}
AGAINST = {
    "start": "compared with the stage's start",
    "best": "compared with its best at an earlier gate",
    "xz": "compared with xz -9e on the same text",
}


def headline(
    stages: Sequence[Mapping[str, Any]], planned: Sequence[str], alive: bool, step: int
) -> dict[str, Any]:
    """Return the status of a run (passed, failed, running, stopped) and a sentence that says it."""
    passed = sum(stage["status"] == "passed" for stage in stages)
    count = max(len(planned), len(stages))
    of_all = f"{passed} of {count} {'stage' if count == 1 else 'stages'} passed"
    last = stages[-1] if stages else None
    if last is not None and last["status"] == "failed":
        failures = [one for one in last["findings"] if not (one["passed"] or one["is_target"])]
        what = "; ".join(
            f"{one['label']}: {one['measured']}, {one['verdict']} {one['limit']}"
            for one in failures
        )
        sentence = f"Stage '{last['name']}' failed its gate{': ' if what else ''}{what}."
        return {"status": "failed", "sentence": sentence}
    if count and passed == count:
        gates = "its gate" if count == 1 else "their gates"
        all_of_them = {1: "The only stage", 2: "Both stages"}.get(count, f"All {count} stages")
        return {"status": "passed", "sentence": f"{all_of_them} passed {gates}."}
    status = "running" if alive else "stopped"
    if last is None:
        return {"status": status, "sentence": "No stage has begun."}
    done = max(0, step - last["first_step"])
    sentence = f"In stage '{last['name']}', at step {done:,} of {last['steps']:,}; {of_all}."
    return {"status": status, "sentence": sentence}


def stage_facts(entry: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """Return what the ledger says of a stage, with its gate's findings in words."""
    verdict = entry.get("verdict") or {}
    at_start, at_end = (_scores(entry.get(key) or {}) for key in ("at_start", "at_end"))
    first, steps = int(entry.get("first_step") or 0), int(entry.get("steps") or 0)
    begin, end = clock.places([first, first + steps])
    return {
        "name": str(entry.get("name", "")),
        "status": entry.get("status", "running"),
        "first_step": first,
        "steps": steps,
        "tokens": entry.get("tokens"),
        "seconds": end["seconds"] - begin["seconds"],
        "tokens_per_second": entry.get("tokens_per_second"),
        "minutes": entry.get("minutes"),
        "findings": [finding_facts(one) for one in verdict.get("findings", [])],
        "actions": [_action(one) for one in entry.get("actions", [])],
        "domains": [
            {"name": name, "before": at_start.get(name), "after": at_end.get(name)}
            for name in dict.fromkeys([*at_start, *at_end])
        ],
        "metrics": {
            name: value
            for name, value in (entry.get("at_end") or {}).items()
            if name.startswith("task/")
        },
    }


def _scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return bits per byte by domain."""
    return {
        domain: value
        for name, value in metrics.items()
        if (domain := domain_of(name)) and name.endswith("/bits_per_byte")
    }


def finding_facts(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finding of a gate in words."""
    metric, against = str(finding.get("metric", "")), finding.get("against")
    bound = "at least" if finding.get("bound") == "at_least" else "at most"
    times = "\N{NO-BREAK SPACE}×" if against else ""
    value, number = finding.get("measured"), float(finding.get("limit") or 0)
    figure, limit = distinct(number if value is None else value, number)
    measured = "not measured" if value is None else f"{figure}{times}"
    low, high = interval = finding.get("interval") or (math.inf, -math.inf)
    if low <= high:
        measured += " (95 %: {} to {})".format(*distinct(*interval))
    is_target = bool(finding.get("is_target"))
    return {
        "metric": metric,
        "label": rule_label(metric, against) + (" (a target)" if is_target else ""),
        "measured": measured,
        "is_target": is_target,
        "verdict": "not shown to be" if low < number < high else "has to be",
        "limit": f"{bound} {limit}{times}",
        "passed": bool(finding.get("passed")),
    }


def rule_label(metric: str, against: str | None) -> str:
    """Return the subject of a rule, such as "perplexity of stories, compared with ..."."""
    kind, *middle, figure = metric.split("/")
    subject = " ".join(middle).replace("*", "each domain")
    if not subject and kind == "val":
        subject = "all held-out text"
    label = FIGURES.get(figure, figure.replace("_", " "))
    label += f" of {subject}" if subject else ""
    return f"{label}, {AGAINST.get(against, against)}" if against else label


def _action(action: Mapping[str, Any]) -> str:
    """Return what was done after a failed gate."""
    step, tokens = action.get("step", 0), action.get("tokens", 0)
    if action.get("kind") == "rollback":
        return (
            f"at step {step:,} the gate failed: back to step {action.get('from_step', 0):,}, with"
            f" {action.get('lr_scale', 1):g} times the learning rate"
        )
    what = f"at step {step:,} the gate failed: longer by {tokens:,} tokens"
    replay = action.get("replay") or 0
    return f"{what}, {replay:.0%} of them from earlier stages" if replay else what
