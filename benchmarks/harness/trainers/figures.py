"""The arithmetic of the benchmark of whole trainers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness.rounds import ratio

TRAINER, BARE = "yxanul-trainer", "bare-step"

WANTED = {
    "trainer / bare step": ("at least", 0.97),
    "seconds / transformers": ("at most", 0.75),
    "seconds / litgpt": ("at most", 0.75),
    "seconds to the first step": ("below", 8.0),
    "share held by checkpoints at the default cadence": ("below", 0.02),
}
"""What the project asks of itself."""


def judge(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures that are asked for, of each shape and precision, beside what is asked."""
    judged: dict[str, dict[str, Any]] = {}

    def note(name: str, row: Mapping[str, Any], measured: float) -> None:
        sign, limit = WANTED[name]
        met = measured >= limit if sign == "at least" else measured <= limit
        wanted = f"{sign} {limit}: {'met' if met else 'NOT MET'}"
        key = f"{name}, {row['shape']} {row['precision']}"
        judged[key] = {"measured": measured, "wanted": wanted, "met": met}

    for row in found.get("A", ()):
        if "ratios" in row:
            note("trainer / bare step", row, row["ratios"][BARE]["median"])
    for row in found.get("B", ()):
        for name, one in row["ratios"].get("yxanul", {}).items():
            if f"seconds / {name}" in WANTED:
                note(f"seconds / {name}", row, one["median"])
    for row in found.get("C", ()):
        note("seconds to the first step", row, row["later"]["total"])
    for row in found.get("D", ()):
        if "shares" in row:
            name = "share held by checkpoints at the default cadence"
            note(name, row, row["shares"][0]["held"])
    return judged


def efficiency(rounds: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Compare the trainer's tokens a second with those of each other, round by round and overall.

    Overall is tokens over seconds of all rounds together: a checkpoint counts as often as it came.
    """
    speeds = {name: [one["tokens_per_second"] for one in done] for name, done in rounds.items()}
    totals = {name: overall(values) for name, values in speeds.items()}
    others = [name for name in speeds if name != TRAINER]
    return {
        "tokens_per_second": {name: round(value, 1) for name, value in totals.items()},
        "rounds": {name: [round(value, 1) for value in one] for name, one in speeds.items()},
        "ratios": {name: ratio(speeds[TRAINER], speeds[name]) for name in others},
        "overall": {name: round(totals[TRAINER] / totals[name], 4) for name in others},
    }


def overall(speeds: Sequence[float]) -> float:
    """Return the speed over rounds of as many tokens each."""
    return statistics.harmonic_mean(speeds)


def time_ratios(
    rounds: Mapping[str, Sequence[dict[str, Any]]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for each of ours, its seconds over those of each peer: below 1 is faster."""
    seconds = {name: [one["seconds"] for one in done] for name, done in rounds.items()}
    return {
        mine: {
            name: ratio(seconds[mine], seconds[name])
            for name in seconds
            if not name.startswith("yxanul")
        }
        for mine in seconds
        if mine.startswith("yxanul")
    }


def split_of(starts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each part of several starts, and of their totals."""
    parts = {name: statistics.median(one.get(name, 0.0) for one in starts) for name in starts[0]}
    totals = [sum(one.values()) for one in starts]
    whole = {"total": statistics.median(totals), "least": min(totals), "most": max(totals)}
    return {name: round(value, 3) for name, value in {**parts, **whole}.items()}


def hold_of(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what one checkpoint costs, from rounds that begin with one each.

    `hold_seconds` is what the training waits for it; `slowed_seconds`, what the steps of its round
    take beyond the usual while it is written beside them. The first one is apart: it also gets the
    memory for the copy.
    """
    usual = statistics.median(s for one in rounds for s in _undisturbed(one["steps"]))
    slowed = [sum(one["steps"]) - len(one["steps"]) * usual - sum(one["holds"]) for one in rounds]
    holds = [hold for one in rounds for hold in one["holds"]]
    later = holds[1:] or holds
    return {
        "step_seconds": round(usual, 4),
        "checkpoints": len(holds),
        "first_hold_seconds": round(holds[0], 4),
        "hold_seconds": round(statistics.median(later), 4),
        "longest_hold_seconds": round(max(later), 4),
        "slowed_seconds": round(statistics.median(slowed[1:] or slowed), 4),
    }


def share_held(found: Mapping[str, float], every_steps: int) -> dict[str, float]:
    """Return the share of the wall time that goes into checkpoints at a cadence: what the training
    waits, and with what it is slowed besides."""
    held, slowed = found["hold_seconds"], max(found["slowed_seconds"], 0.0)
    usual = every_steps * found["step_seconds"]
    return {
        "every_steps": every_steps,
        "held": round(held / (usual + held), 6),
        "held_and_slowed": round((held + slowed) / (usual + held + slowed), 6),
    }


def _undisturbed(steps: Sequence[float]) -> Sequence[float]:
    """Return the later half of a round: its checkpoint is written by then."""
    return steps[len(steps) // 2 :]
