"""Gates: what held-out text has to show at the end of a stage.

A gate compares figures with limits. A figure that is missing, infinite or not a number never
passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from yxanul.eval.score import Score
from yxanul.stages.config import GateSettings, Limit


@dataclass(frozen=True)
class Evidence:
    """What a gate judges by, each by domain."""

    at_start: Mapping[str, Score]
    """Scores of the stage's own domains before its first step."""
    at_end: Mapping[str, Score]
    """Scores of all domains trained so far."""
    best_perplexity: Mapping[str, float]
    """The best perplexity that earlier gates measured on the domains of earlier stages."""
    xz_bits_per_byte: Callable[[str], float | None] = lambda domain: None
    """What `xz -9e` needs for the held-out text of a domain."""


@dataclass(frozen=True)
class Finding:
    """One figure against one limit."""

    gate: str
    domain: str
    measured: float | None
    limit: float
    passed: bool

    def __str__(self) -> str:
        measured = "nothing" if self.measured is None else f"{self.measured:.4g}"
        sign = "<=" if self.passed else "is not <="
        return f"{self.gate} of {self.domain}: {measured} {sign} {self.limit:.4g}"


@dataclass(frozen=True)
class Verdict:
    """All findings of a gate; it passes when each of them does."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the next stage may start."""
        return all(finding.passed for finding in self.findings)

    @property
    def failures(self) -> list[Finding]:
        """The findings that did not pass."""
        return [finding for finding in self.findings if not finding.passed]

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Verdict:
        """Read what `to_dict` returned."""
        return cls(tuple(Finding(**finding) for finding in plain["findings"]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the ledger."""
        return {"passed": self.passed, "findings": [asdict(finding) for finding in self.findings]}


def judge(settings: GateSettings, evidence: Evidence) -> Verdict:
    """Apply every gate of the table."""
    return Verdict(
        tuple(finding for gate in GATES.values() for finding in gate(settings, evidence))
    )


def _bits_per_byte(settings: GateSettings, evidence: Evidence) -> Sequence[Finding]:
    findings: list[Finding] = []
    for domain, limit in settings.bits_per_byte.items():
        name, figure = "bits_per_byte", _figure(evidence.at_end, domain, "bits_per_byte")
        if limit.against == "xz":
            name, xz = "bits_per_byte/xz", evidence.xz_bits_per_byte(domain)
            figure = figure / xz if figure is not None and xz else None
        findings.append(_finding(name, domain, figure, limit))
    return findings


def _perplexity(settings: GateSettings, evidence: Evidence) -> Sequence[Finding]:
    return [
        _finding("perplexity", domain, _figure(evidence.at_end, domain, "perplexity"), limit)
        for domain, limit in settings.perplexity.items()
    ]


def _progress(settings: GateSettings, evidence: Evidence) -> Sequence[Finding]:
    """Judge perplexity at the end against the start, for domains that are new in this stage."""
    if settings.progress is None:
        return []
    new = [domain for domain in evidence.at_start if domain not in evidence.best_perplexity]
    starts = {domain: evidence.at_start[domain].perplexity for domain in new}
    return [_ratio("progress", d, evidence.at_end, starts[d], settings.progress) for d in new]


def _forgetting(settings: GateSettings, evidence: Evidence) -> Sequence[Finding]:
    if settings.forgetting is None:
        return []
    return [
        _ratio("forgetting", domain, evidence.at_end, best, settings.forgetting)
        for domain, best in evidence.best_perplexity.items()
    ]


GATES: dict[str, Callable[[GateSettings, Evidence], Sequence[Finding]]] = {
    "bits_per_byte": _bits_per_byte,
    "perplexity": _perplexity,
    "progress": _progress,
    "forgetting": _forgetting,
}


def _figure(scores: Mapping[str, Score], domain: str, name: str) -> float | None:
    return getattr(scores[domain], name) if domain in scores else None


def _ratio(
    gate: str, domain: str, scores: Mapping[str, Score], reference: float, limit: Limit
) -> Finding:
    figure = _figure(scores, domain, "perplexity")
    return _finding(gate, domain, None if figure is None else figure / reference, limit)


def _finding(gate: str, domain: str, measured: float | None, limit: Limit) -> Finding:
    passed = measured is not None and math.isfinite(measured) and measured <= limit.at_most
    return Finding(gate, domain, measured, limit.at_most, passed)
