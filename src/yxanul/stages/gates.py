"""Gates: conditions on held-out metrics at the end of a stage.

A gate compares metrics with the bounds of its rules. A missing, infinite or NaN metric never
passes, nor one whose confidence interval holds the limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from yxanul.base.figures import distinct
from yxanul.base.metric_names import domain_of, matching
from yxanul.stages.config import GateSettings, Rule


@dataclass(frozen=True)
class Evidence:
    """Inputs of a gate."""

    at_end: Mapping[str, float]
    """Metrics of all domains trained so far."""
    references: Mapping[str, Mapping[str, float | None]]
    """Metrics by a rule's `against`: at the stage's start, the best at earlier gates, xz."""
    new_domains: Collection[str]
    """Domains that no earlier stage trained."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % confidence intervals of the metrics of tasks."""


@dataclass(frozen=True)
class Finding:
    """Result of one rule for one metric, divided by its reference if the rule has one."""

    metric: str
    against: str | None
    measured: float | None
    bound: str
    """at_most or at_least."""
    limit: float
    passed: bool
    interval: tuple[float, float] | None = None
    """95 % confidence interval of what was measured."""
    is_target: bool = False
    """Whether the gate passes without it."""

    def __str__(self) -> str:
        name = f"{self.metric} against {self.against}" if self.against else self.metric
        value = self.limit if self.measured is None else self.measured
        measured, limit = distinct(value, self.limit)
        if self.measured is None:
            measured = "not measured"
        if self.interval is not None:
            measured += " (95 % interval {} to {})".format(*distinct(*self.interval))
        verdict = "" if self.passed else ", not shown to be" if self.is_open else ", expected"
        sign = "<=" if self.bound == "at_most" else ">="
        kind = "target " if self.is_target else ""
        return f"{kind}{name}: {measured}{verdict} {sign} {limit}"

    @property
    def is_open(self) -> bool:
        """Whether the interval holds the limit, so that nothing is shown."""
        return self.interval is not None and self.interval[0] < self.limit < self.interval[1]


@dataclass(frozen=True)
class Verdict:
    """All findings of a gate; it passes if all of them but targets pass."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether all findings passed that have to."""
        return not self.failures

    @property
    def failures(self) -> list[Finding]:
        """Findings that did not pass, without targets."""
        return [one for one in self.findings if not one.passed and not one.is_target]

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Verdict:
        """Restore from `to_dict`."""
        findings = []
        for one in plain["findings"]:
            interval = one.get("interval")
            findings.append(Finding(**one | {"interval": interval and tuple(interval)}))
        return cls(tuple(findings))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data for the ledger."""
        return {"passed": self.passed, "findings": [asdict(finding) for finding in self.findings]}


def judge(gate: GateSettings, evidence: Evidence) -> Verdict:
    """Apply every rule of a gate, and its targets."""
    required = [one for rule in gate.all_rules() for one in _findings(rule, evidence)]
    targets = [one for rule in gate.targets for one in _findings(rule, evidence)]
    return Verdict((*required, *(replace(one, is_target=True) for one in targets)))


def _findings(rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    """Apply a rule to each metric it matches; a rule that matches no metric fails, one with * whose
    metrics are all out of scope says nothing."""
    bound, limit = rule.bound
    for metric in matching(rule.metric, evidence.at_end) or [rule.metric]:
        if "*" in rule.metric and not _is_in_scope(metric, rule, evidence.new_domains):
            continue
        measured = evidence.at_end.get(metric)
        if rule.against is not None and measured is not None:
            reference = evidence.references[rule.against].get(metric)
            measured = measured / reference if reference and math.isfinite(reference) else None
        value = math.nan if measured is None else measured
        # Both sides of a ratio were measured on the same documents: no interval is known.
        interval = None if rule.against else evidence.intervals.get(metric)
        low, high = interval or (value, value)
        holds = high <= limit if bound == "at_most" else low >= limit
        passed = math.isfinite(value) and holds
        yield Finding(metric, rule.against, measured, bound, limit, passed, interval)


def _is_in_scope(metric: str, rule: Rule, new_domains: Collection[str]) -> bool:
    """Return whether the metric's domain is in the scope of a rule with a *."""
    if rule.scope == "all" or domain_of(metric) in (None, "*"):
        return True
    return (domain_of(metric) in new_domains) == (rule.scope == "stage")
