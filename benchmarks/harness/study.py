"""A study of learning: its jobs, in the order in which they are to be done.

Later jobs depend on the results of earlier ones (the best rate), so the list is made anew after
each: `planned` is a pure function of what is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
"""Arms and rates (None: the recipe's) of our recipe that are tried beside it, on one text and one
seed: whether its defaults are far from the best."""
OTHER_SHARES = (0.5, 0.4, 1.0)
CLAIMED = ("curriculum", "ours")
"""Arms of ours that are held against the peer: with the curriculum that the package's recipes have,
and without."""


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
        """A name for files: all that tells it from other jobs of its dataset."""
        rate = "default" if self.rate is None else f"{self.rate:g}"
        return f"{self.arm}-rate-{rate}-steps-{self.steps}-seed-{self.seed}"

    @property
    def is_peer(self) -> bool:
        """Whether the peer does it."""
        return self.arm in (*PEERS, PEER_WARM)


Results = Mapping[Job, Mapping[str, Any]]
"""What each job that is done has found: at least its held-out `loss`."""


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

    def job(self, dataset: str, arm: str, seed: int, rate: float | None = None) -> Job:
        """Return a job of an arm at the length at which arms are compared."""
        return Job(dataset, arm, seed, self.steps_of(arm), rate)

    def all_seeds(
        self, dataset: str, arms: Sequence[str], rate: float | None = None
    ) -> Iterator[Job]:
        """Yield the jobs of arms with every seed."""
        yield from (self.job(dataset, arm, seed, rate) for arm in arms for seed in self.seeds)


def planned(study: Study, results: Results) -> Iterator[Job]:
    """Yield all jobs that can be named by now, those to be done first before the others."""
    plan, first, seed = Plan(study, results), study.datasets[0], study.seeds[0]
    yield from (study.job(first, arm, seed, rate) for arm, rate in TRIALS)
    yield from (study.job(first, arm, seed, FIRST_PEER_RATE) for arm in PEERS)
    for part in (plan.claim_jobs, plan.share_jobs, plan.crossing_jobs):
        for dataset in study.datasets:
            yield from part(dataset)


class Plan:
    """What is to be done of a study, given what is known."""

    def __init__(self, study: Study, results: Results):
        self.study, self.results = study, results

    def claim_jobs(self, dataset: str) -> Iterator[Job]:
        """Yield the peer with its rate tuned, and our recipe at the goal's share of the tokens."""
        arm = self.peer_arm()
        if arm is not None:
            yield from self.tuned_jobs(dataset, arm)
        yield from self.study.all_seeds(dataset, CLAIMED[:1])

    def share_jobs(self, dataset: str) -> Iterator[Job]:
        """Yield our recipe without its curriculum, and with one ingredient changed besides, at the
        goal's share of the tokens."""
        yield from self.study.all_seeds(dataset, CLAIMED[1:])
        yield from self.tuned_jobs(dataset, "adamw")
        yield from self.study.all_seeds(dataset, ["cosine"])
        rate = self.peer_rate(dataset)
        if rate:
            yield from self.study.all_seeds(dataset, [PEER_WARM], WARM_FACTORS[0] * rate)
        yield from self.study.all_seeds(dataset, ["no-decay", "floor", "curriculum-three"])

    def crossing_jobs(self, dataset: str) -> Iterator[Job]:
        """Yield our recipe at other shares of the tokens, and what has to be known of the peer."""
        study, seed, rate = self.study, self.study.seeds[0], self.peer_rate(dataset)
        if rate:
            yield from (study.job(dataset, PEER_WARM, seed, n * rate) for n in WARM_FACTORS)
            yield study.job(dataset, "peer-settings", seed, rate)
        for share in OTHER_SHARES:
            yield from (Job(dataset, arm, seed, study.share(share)) for arm in CLAIMED)

    def tuned_jobs(self, dataset: str, arm: str) -> Iterator[Job]:
        """Yield an arm at each rate with the first seed, then at the best one with the others."""
        seed, *others = self.study.seeds
        yield from (self.study.job(dataset, arm, seed, rate) for rate in self.rates(dataset, arm))
        best = self.best_rate(dataset, arm)
        if best is not None:
            yield from (self.study.job(dataset, arm, other, best) for other in others)

    def rates(self, dataset: str, arm: str) -> list[float]:
        """Return the rates to be tried: past an edge where the best of those tried lies on it."""
        tried = sorted(self.study.adamw_rates if arm == "adamw" else self.study.peer_rates)
        for _ in range(MOST_RATES_MORE if len(tried) > 1 else 0):
            best = self._best(dataset, [(arm, rate) for rate in tried])
            if best == (arm, tried[-1]):
                tried.append(tried[-1] * tried[-1] / tried[-2])
            elif best == (arm, tried[0]):
                tried.insert(0, tried[0] * tried[0] / tried[1])
            else:
                break
        return tried

    def best_rate(self, dataset: str, arm: str) -> float | None:
        """Return the rate with the lowest loss of the first seed; None until all are known."""
        best = self._best(dataset, [(arm, rate) for rate in self.rates(dataset, arm)])
        return best[1] if best else None

    def peer_arm(self) -> str | None:
        """Return from which start weights the peer does better, on the first dataset; None until
        that is known."""
        best = self._best(self.study.datasets[0], [(arm, FIRST_PEER_RATE) for arm in PEERS])
        return best[0] if best else None

    def peer_rate(self, dataset: str) -> float | None:
        """Return the peer's best rate, once it is known."""
        arm = self.peer_arm()
        return self.best_rate(dataset, arm) if arm else None

    def _best(self, dataset: str, tried: list[tuple[str, float]]) -> tuple[str, float] | None:
        """Return the arm and rate with the lowest loss of the first seed, once all are known."""
        seed = self.study.seeds[0]
        jobs = {(arm, rate): self.study.job(dataset, arm, seed, rate) for arm, rate in tried}
        if any(job not in self.results for job in jobs.values()):
            return None
        return min(jobs, key=lambda one: self.results[jobs[one]]["loss"])
