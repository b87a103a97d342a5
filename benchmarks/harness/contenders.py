"""Contenders in turn: who takes part in a comparison, who runs when, and the ratios that follow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.process import Contender, ContenderFailed, run_function
from harness.report import say
from peers import Peer

Do = Callable[[str], dict[str, Any]]
"""Has one contender do something, and returns its answer."""


class Contenders:
    """The contenders of one comparison. One that cannot take part, or fails, is left out with the
    reason told; `names` are those that are left, `processes` those of them that stay."""

    def __init__(
        self,
        table: Mapping[str, Peer],
        names: Iterable[str],
        kind: str = "llama",
        device: str = "cpu",
    ):
        self.names: list[str] = []
        self.absent: dict[str, str] = {}
        self.processes: dict[str, Contender] = {}
        for name in names:
            reason = table[name].why_not(kind, device)
            if reason is None:
                self.names.append(name)
            else:
                self._note(name, reason, "skipped")

    def __enter__(self) -> Contenders:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()

    def open(self, name: str, call: str, job: dict[str, Any]) -> dict[str, Any]:
        """Start the process of a contender; return what it says of itself."""
        self.processes[name] = Contender(call, job)
        return self.processes[name].facts

    def ask(self, method: str, **arguments: Any) -> dict[str, dict[str, Any]]:
        """Return the answers of the processes of all, asked one after the other."""
        return self.each(lambda name: self.processes[name].ask(method, **arguments))

    def each(self, do: Do) -> dict[str, dict[str, Any]]:
        """Have each contender do something once; return the answers of those that did it."""
        answers = {name: self._attempt(name, do) for name in list(self.names)}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def rounds(self, count: int, do: Do) -> dict[str, list[dict[str, Any]]]:
        """Have the contenders do something in turn, in every round; return the answers of those
        that finished all rounds."""
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        for _, name in alternating(list(self.names), count):
            answer = self._attempt(name, do) if name in self.names else None
            if answer is not None:
                answers[name].append(answer)
        return {name: answers[name] for name in self.names}

    def _attempt(self, name: str, do: Do) -> dict[str, Any] | None:
        try:
            return do(name)
        except ContenderFailed as error:
            self.names.remove(name)
            self.processes.pop(name, None)
            self._note(name, str(error), "failed")
            return None

    def _note(self, name: str, reason: str, how: str) -> None:
        """Note the whole reason, which goes to the result file; show its first line."""
        self.absent[name] = f"{how}: {reason}"
        say(f"{name} {how}: {reason.splitlines()[0]}")


def run_whole(
    peer: Peer,
    benchmark: str,
    job: dict[str, Any],
    env: dict[str, str] | None = None,
    cores: int | None = None,
) -> dict[str, Any]:
    """Have a contender do a job in a process of its own; return its answer with the seconds and the
    memory of the whole process."""
    return run_function(peer.call(benchmark), {"job": job, **peer.options}, env, cores)


def alternating(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, name) in the order A B B A A B ...: what drifts slows all of them alike."""
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            yield number, name


def repeats_for(seconds: float, once: float, least: int = 2) -> int:
    """Return how often to do what takes `once` seconds, so that a round lasts `seconds`."""
    return max(least, math.ceil(seconds / max(once, 1e-6)))


def figures(rounds: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> dict[str, list[float]]:
    """Return one figure of every contender's answers, round by round."""
    return {name: [answer[key] for answer in answers] for name, answers in rounds.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest of our figure over theirs, round by round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": round(statistics.median(ratios), 4),
        "min": round(min(ratios), 4),
        "max": round(max(ratios), 4),
    }


def ratios_of(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for every contender that is ours, its ratio to each of the others."""
    ours = [name for name in values if name.startswith("yxanul")]
    return {
        mine: {name: ratio(values[mine], values[name]) for name in values if name != mine}
        for mine in ours
    }
