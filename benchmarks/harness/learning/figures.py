"""What the results say: means with intervals, tables, and where our recipe reaches the peer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from harness.learning.jobs import GOAL, OTHER_SHARES, PEER_WARM, PEERS, WHAT, Job, Results, Study

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Of a two-sided interval of 95 %, by the number of values."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with the half of its 95 % t-interval (None for a single value)."""

    mean: float
    half_interval_95: float | None
    seeds: int

    def __str__(self) -> str:
        return self.written()

    def written(self, sign: str = "") -> str:
        """Write the mean, with a sign if that is "+", and how sure it is."""
        mean = f"{self.mean:{sign}.4f}"
        if self.half_interval_95 is None:
            return f"{mean} (1 seed)"
        return f"{mean} ± {self.half_interval_95:.4f}"


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of values that are taken as normally distributed."""
    number = len(values)
    half = None
    if number > 1:
        half = STUDENT[number] * statistics.stdev(values) / math.sqrt(number)
    return Mean(statistics.fmean(values), half, number)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Mean | None:
    """Return the mean difference over the seeds that both have."""
    both = sorted(ours.keys() & theirs.keys())
    return mean_of([ours[seed] - theirs[seed] for seed in both]) if both else None


def crossing(points: Mapping[float, float], goal: float) -> float | None:
    """Return the share of the tokens at which a loss is reached, straight lines over log tokens.

    None where the goal lies outside of what was measured.
    """
    ordered = sorted(points.items())
    for (left, high), (right, low) in pairwise(ordered):
        if high >= goal >= low and high > low:
            part = (high - goal) / (high - low)
            return math.exp(math.log(left) + part * (math.log(right) - math.log(left)))
    return None


def by_seed(
    results: Results, dataset: str, arm: str, steps: int, rate: float | None = None
) -> dict[int, float]:
    """Return the losses of an arm: at a rate, or at the rate that most seeds have."""
    found: dict[float | None, dict[int, float]] = {}
    for job, result in results.items():
        if (job.dataset, job.arm, job.steps) == (dataset, arm, steps):
            found.setdefault(job.rate, {})[job.seed] = result["loss"]
    if rate is not None:
        return found.get(rate, {})
    rates = sorted(found, key=lambda one: (-len(found[one]), min(found[one].values())))
    return found[rates[0]] if rates else {}


def best_peer(results: Results, dataset: str, steps: int) -> dict[int, float]:
    """Return the losses of the peer's better arm."""
    arms = [by_seed(results, dataset, arm, steps) for arm in PEERS]
    arms = [losses for losses in arms if losses]
    return min(arms, key=lambda one: (-len(one), statistics.fmean(one.values())), default={})


def claim(study: Study, dataset: str, arm: str, results: Results) -> dict[str, Any]:
    """Return how far an arm of ours is at the goal's share of the tokens, and where it crosses."""
    peer = best_peer(results, dataset, study.steps)
    if not peer:
        return {}
    shares = sorted({*OTHER_SHARES, GOAL, 1.0})
    points = {share: by_seed(results, dataset, arm, study.share(share)) for share in shares}
    points = {share: losses for share, losses in points.items() if losses}
    difference = paired(points.get(GOAL, {}), peer)
    warm = paired(points.get(GOAL, {}), by_seed(results, dataset, PEER_WARM, study.steps))
    return {
        "peer": as_plain(mean_of(list(peer.values()))),
        "ours_by_share": {
            str(share): as_plain(mean_of(list(losses.values()))) for share, losses in points.items()
        },
        "ours_at_goal_minus_peer": as_plain(difference) if difference else None,
        "ours_at_goal_minus_warm_peer": as_plain(warm) if warm else None,
        "reached_at_by_seed": {
            str(seed): crossing({s: one[seed] for s, one in points.items() if seed in one}, loss)
            for seed, loss in sorted(peer.items())
        },
    }


def claim_row(text: str, arm: str, found: Mapping[str, Any]) -> list[str]:
    """Return a claim as a row: peer, ours by share, difference at the goal, where it is reached."""
    by_share = found["ours_by_share"].items()
    differences = [found[f"ours_at_goal_minus_{peer}"] for peer in ("peer", "warm_peer")]
    reached = [share for share in found["reached_at_by_seed"].values() if share is not None]
    return [
        text,
        arm,
        str(Mean(**found["peer"])),
        ", ".join(f"{share}: {Mean(**mean)}" for share, mean in by_share),
        *(signed(Mean(**one) if one else None) for one in differences),
        ", ".join(f"{share:.2f}" for share in reached),
    ]


def as_plain(mean: Mean) -> dict[str, float | int | None]:
    """Return a mean for JSON."""
    return asdict(mean)


def share_rows(
    study: Study, dataset: str, results: Results, arms: Iterable[str]
) -> list[list[str]]:
    """Return a row for each arm: steps, loss, and how much worse than ours it is."""
    ours = by_seed(results, dataset, "ours", study.steps_of("ours"))
    rows = []
    for arm in arms:
        steps = study.steps_of(arm)
        losses = by_seed(results, dataset, arm, steps)
        if losses:
            difference = None if arm == "ours" else paired(losses, ours)
            mean = mean_of(list(losses.values()))
            figures = [str(steps), str(mean), signed(difference)]
            rows.append([arm, WHAT[arm], *figures, rates_of(results, dataset, arm, steps)])
    return rows


def signed(mean: Mean | None) -> str:
    """Write a difference with its sign."""
    return "" if mean is None else mean.written("+")


def rates_of(results: Results, dataset: str, arm: str, steps: int) -> str:
    """Write the rates at which an arm was tried with its first seed, and each one's loss."""
    found = {
        job.rate: (result["loss"], job.seed)
        for job, result in sorted(results.items(), key=lambda item: -item[0].seed)
        if (job.dataset, job.arm, job.steps) == (dataset, arm, steps) and job.rate is not None
    }
    return ", ".join(f"{rate:g}: {found[rate][0]:.3f}" for rate in sorted(found))


def all_jobs(results: Results) -> list[Job]:
    """Return the jobs that are done, in a fixed order."""
    return sorted(
        results, key=lambda job: (job.dataset, job.arm, job.steps, job.rate or 0, job.seed)
    )
