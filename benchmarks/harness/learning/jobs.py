"""The arms of the study, and its jobs in the order in which they are to be done.

Later jobs depend on the results of earlier ones (the best rate), so the list is made anew after
each: `planned` is a pure function of what is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.learning.texts import Scale

PEERS = ("peer", "peer-our-init")
"""The Trainer of `transformers`, from its own start weights and from ours."""
PEER_WARM = "peer-warm"
"""The same from ours with a long warm-up: no part of the claim, but it has to be known."""
PEER_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
FIRST_PEER_RATE = 2e-3
"""At which the two kinds of start weights are compared."""
WARM_FACTORS = (2, 1, 4)
"""With a long warm-up it is tried at so many times its best rate with a short one."""
ADAMW_RATES = (7.5e-4, 1.5e-3, 3e-3, 6e-3)
MOST_RATES_MORE = 2
"""So often the rates go on past an edge at which the best of them lies."""
GOAL = 0.6
"""Share of the peer's tokens that is to be enough."""
TRIALS = (("warm", None), ("ours", 1.5e-3), ("warm", 6e-3), ("ours", 6e-3))
"""Arms and rates (None: the recipe's) of our recipe that are tried beside it."""
OTHER_SHARES = (0.5, 0.4, 1.0)
CLAIMED = ("curriculum", "ours")
"""Arms of ours that are held against the peer: with the curriculum that the package's recipes have,
and without."""

_TO_ZERO = "{name: cosine, min_lr_fraction: 0}"


def our_arms(scale: Scale) -> dict[str, tuple[str, ...]]:
    """Return what each of our arms changes in the recipe: the first one changes nothing."""
    long = scale.seq_len
    two = f"[{{seq_len: {long // 4}, share: 0.2}}, {{seq_len: {long}, share: 0.8}}]"
    three = (
        f"[{{seq_len: {long // 4}, share: 0.2}}, {{seq_len: {long // 2}, share: 0.2}},"
        f" {{seq_len: {long}, share: 0.6}}]"
    )
    return {
        "ours": (),
        "curriculum": (f"stages.0.curriculum={two}",),
        "curriculum-three": (f"stages.0.curriculum={three}",),
        "adamw": ("optim.name=adamw",),
        "cosine": (f"optim.schedule={_TO_ZERO}",),
        "floor": ("optim.schedule={name: linear, min_lr_fraction: 0.1}",),
        "no-decay": ("optim.weight_decay=0",),
        "warm": ("optim.schedule.warmup_fraction=0.1",),
        "peer-settings": (
            "optim.name=adamw",
            "optim.betas=[0.9, 0.999]",
            "optim.weight_decay=0",
            f"optim.schedule={_TO_ZERO}",
        ),
    }


WHAT = {
    "peer": "transformers Trainer, AdamW and cosine at its best rate",
    "peer-our-init": "the same from our start weights",
    PEER_WARM: "the same with a tenth of the run as warm-up",
    "ours": "our recipe: Muon, straight to zero, decay 0.1, rows of one length",
    "curriculum": "short rows (1/4) for a fifth, then long ones",
    "curriculum-three": "rows of 1/4, 1/2 and full length (0.2, 0.2, 0.6)",
    "adamw": "AdamW instead of Muon, at its best rate",
    "cosine": "cosine to zero instead of straight to zero",
    "floor": "straight to a tenth instead of to zero",
    "no-decay": "no weight decay",
    "warm": "a tenth of the run as warm-up instead of a hundredth",
    "peer-settings": "the peer's settings and rate in our program",
}
"""Every arm in words."""


@dataclass(frozen=True)
class Job:
    """One run of one arm."""

    dataset: str
    arm: str
    seed: int
    steps: int
    rate: float | None = None
    """Peak rate; None leaves the recipe's."""

    @property
    def key(self) -> str:
        """A name for files: all that tells it from other jobs of its data set."""
        rate = "default" if self.rate is None else f"{self.rate:g}"
        return f"{self.arm}-rate-{rate}-steps-{self.steps}-seed-{self.seed}"

    @property
    def is_peer(self) -> bool:
        """Whether the peer does it."""
        return self.arm in (*PEERS, PEER_WARM)


@dataclass(frozen=True)
class Study:
    """How much is asked for."""

    datasets: tuple[str, ...]
    steps: int
    """Of the peer; ours have a share of them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    peer_rates: tuple[float, ...] = PEER_RATES
    adamw_rates: tuple[float, ...] = ADAMW_RATES

    def share(self, share: float) -> int:
        """Return the steps that are this share of all."""
        return round(share * self.steps)

    def steps_of(self, arm: str) -> int:
        """Return how long an arm is trained where arms are compared: the peer has all steps."""
        whole = arm in (*PEERS, PEER_WARM, "peer-settings")
        return self.steps if whole else self.share(GOAL)


Results = Mapping[Job, Mapping[str, Any]]
"""What each job that is done has found: at least its held-out `loss`."""


def planned(study: Study, results: Results) -> Iterator[Job]:
    """Yield all jobs that can be named by now, those to be done first before the others."""
    yield from try_jobs(study)
    for part in (claim_jobs, share_jobs, crossing_jobs):
        for dataset in study.datasets:
            yield from part(study, dataset, results)


def try_jobs(study: Study) -> Iterator[Job]:
    """Yield our recipe at other rates and with a longer warm-up, on one text and one seed: whether
    its defaults are far from the best."""
    for arm, rate in TRIALS:
        yield Job(study.datasets[0], arm, study.seeds[0], study.share(GOAL), rate)


def claim_jobs(study: Study, dataset: str, results: Results) -> Iterator[Job]:
    """Yield the peer with its rate tuned, and our recipe at the goal's share of the tokens."""
    if dataset == study.datasets[0]:
        for arm in PEERS:
            yield Job(dataset, arm, study.seeds[0], study.steps, FIRST_PEER_RATE)
    arm = peer_arm(study, results)
    if arm is not None:
        yield from tuned_jobs(study, dataset, arm, study.peer_rates, results)
    yield from _all_seeds(study, dataset, CLAIMED[0], study.share(GOAL))


def share_jobs(study: Study, dataset: str, results: Results) -> Iterator[Job]:
    """Yield our recipe without its curriculum, and with one ingredient changed besides, at the
    goal's share of the tokens."""
    yield from _all_seeds(study, dataset, CLAIMED[1], study.share(GOAL))
    yield from tuned_jobs(study, dataset, "adamw", study.adamw_rates, results)
    yield from _all_seeds(study, dataset, "cosine", study.share(GOAL))
    rate = peer_rate(study, dataset, results)
    for seed in study.seeds if rate else ():
        yield Job(dataset, PEER_WARM, seed, study.steps, WARM_FACTORS[0] * (rate or 1))
    for arm in ("no-decay", "floor", "curriculum-three"):
        yield from _all_seeds(study, dataset, arm, study.share(GOAL))


def crossing_jobs(study: Study, dataset: str, results: Results) -> Iterator[Job]:
    """Yield our recipe at other shares of the tokens, and what has to be known of the peer."""
    rate = peer_rate(study, dataset, results)
    if rate:
        for factor in WARM_FACTORS:
            yield Job(dataset, PEER_WARM, study.seeds[0], study.steps, factor * rate)
        yield Job(dataset, "peer-settings", study.seeds[0], study.steps, rate)
    for share in OTHER_SHARES:
        for arm in CLAIMED:
            yield Job(dataset, arm, study.seeds[0], study.share(share))


def _all_seeds(study: Study, dataset: str, arm: str, steps: int) -> Iterator[Job]:
    yield from (Job(dataset, arm, seed, steps) for seed in study.seeds)


def tuned_jobs(
    study: Study, dataset: str, arm: str, rates: Sequence[float], results: Results
) -> Iterator[Job]:
    """Yield an arm at each rate with the first seed, then at the best one with the others."""
    steps = study.steps_of(arm)
    for rate in tried_rates(study, dataset, arm, rates, results):
        yield Job(dataset, arm, study.seeds[0], steps, rate)
    best = best_rate(study, dataset, arm, rates, results)
    if best is not None:
        yield from (Job(dataset, arm, seed, steps, best) for seed in study.seeds[1:])


def tried_rates(
    study: Study, dataset: str, arm: str, rates: Sequence[float], results: Results
) -> list[float]:
    """Return the rates to be tried: past an edge where the best of those tried lies on it."""
    tried = sorted(rates)
    for _ in range(MOST_RATES_MORE if len(tried) > 1 else 0):
        losses = _losses(study, dataset, arm, tried, results)
        if len(losses) < len(tried):
            break
        best = min(losses, key=losses.__getitem__)
        if best == tried[-1]:
            tried.append(best * tried[-1] / tried[-2])
        elif best == tried[0]:
            tried.insert(0, best * tried[0] / tried[1])
        else:
            break
    return tried


def best_rate(
    study: Study, dataset: str, arm: str, rates: Sequence[float], results: Results
) -> float | None:
    """Return the rate with the lowest loss of the first seed; None until all are known."""
    tried = tried_rates(study, dataset, arm, rates, results)
    losses = _losses(study, dataset, arm, tried, results)
    return min(losses, key=losses.__getitem__) if len(losses) == len(tried) else None


def peer_arm(study: Study, results: Results) -> str | None:
    """Return from which start weights the peer does better, on the first data set; None until
    that is known."""
    first = study.datasets[0]
    jobs = {one: Job(first, one, study.seeds[0], study.steps, FIRST_PEER_RATE) for one in PEERS}
    if any(job not in results for job in jobs.values()):
        return None
    return min(PEERS, key=lambda one: results[jobs[one]]["loss"])


def peer_rate(study: Study, dataset: str, results: Results) -> float | None:
    """Return the peer's best rate, once it is known."""
    arm = peer_arm(study, results)
    return best_rate(study, dataset, arm, study.peer_rates, results) if arm else None


def _losses(
    study: Study, dataset: str, arm: str, rates: Sequence[float], results: Results
) -> dict[float, float]:
    steps = study.steps_of(arm)
    jobs = {rate: Job(dataset, arm, study.seeds[0], steps, rate) for rate in rates}
    return {rate: results[job]["loss"] for rate, job in jobs.items() if job in results}
