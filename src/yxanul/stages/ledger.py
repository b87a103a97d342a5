"""Ledger: decisions, measurements and gate verdicts of a run, by stage."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, write_json
from yxanul.base.metric_names import is_better
from yxanul.stages.gates import Verdict

SCHEMA_VERSION = 1
LOST = "restore it from a backup, or choose another folder with --out"
"""Hint for a missing or damaged ledger."""

Status = Literal["running", "passed", "failed"]


@dataclass(frozen=True)
class Action:
    """What was done after a failed gate."""

    kind: Literal["extend", "rollback", "replay"]
    step: int
    """Step of the stage at which the gate failed."""
    attempt: int
    """Index in `StageSettings.attempts`."""
    tokens: int
    """Target tokens that the stage is longer by."""
    replay: float = 0.0
    """Share of rows from earlier stages, from this step on."""
    from_step: int | None = None
    """Rollback: step of the stage whose weights and optimizer state are restored."""
    lr_scale: float = 1.0
    """Rollback: factor on the learning rate of the steps that are done again."""
    failures: tuple[str, ...] = ()
    """Findings of the gate that failed."""


@dataclass(frozen=True)
class AlertRollback:
    """A return to earlier weights and optimizer state that an alert asked for; text, steps and
    schedule go on."""

    step: int
    """Steps of the stage done by then."""
    from_step: int
    """Step of the stage returned to."""
    alert: str


@dataclass
class Entry:
    """Ledger entry of one stage."""

    name: str
    status: Status
    tokens: int
    """Planned target tokens."""
    steps: int
    """Planned optimizer steps."""
    first_step: int
    """Optimizer steps of the run before the stage."""
    at_start: dict[str, float]
    """Metrics of the stage's domains before its first step."""
    positions: dict[str, int] = field(default_factory=dict)
    """Tokens of each source that the run had read before the stage."""
    minutes: float | None = None
    """Budget in minutes, if given so."""
    minutes_tokens: int | None = None
    """Tokens that the minutes were estimated to allow before the first step."""
    replans: list[tuple[int, int, float]] = field(default_factory=list)
    """Later estimates: (step of the stage, tokens of all minutes at the speed measured by then,
    seconds of the budget used by then)."""
    threads: list[tuple[int, int]] = field(default_factory=list)
    """Changes of the number of CPU threads: (steps of the stage done by then, threads)."""
    tokens_per_second: float | None = None
    """Mean speed over the whole stage, by the last estimate."""
    micro_rows: dict[int, int] = field(default_factory=dict)
    """Rows per micro-batch by phase: found before the first step, halved after out-of-memory."""
    micro_rows_for: str = ""
    """Settings and devices for which `micro_rows` is valid."""
    cooldown_steps: int | None = None
    """Total steps of the stage after an early cooldown was requested."""
    cooldown_of: int | None = None
    """Total steps before that request; a changed budget cancels the cooldown."""
    actions: list[Action] = field(default_factory=list)
    """Actions after failed gates."""
    rollbacks: list[AlertRollback] = field(default_factory=list)
    """Rollbacks for alerts."""
    at_end: dict[str, float] = field(default_factory=dict)
    """Metrics of all domains so far, at the gate."""
    verdict: Verdict | None = None

    @property
    def is_guess(self) -> bool:
        """Whether minutes have not been turned into tokens by a measurement yet."""
        return self.minutes is not None and not self.replans and self.verdict is None

    @property
    def budget_tokens(self) -> int:
        """Planned target tokens without those of actions, each of which is rounded to a step."""
        return self.tokens - sum(action.tokens for action in self.actions)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data."""
        return asdict(self) | {"verdict": self.verdict and self.verdict.to_dict()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Entry:
        """Restore from `to_dict`."""
        if plain["status"] not in get_args(Status):
            raise ValueError(f"unknown status {plain['status']!r}")
        fields = dict(plain)
        for name in ("at_start", "at_end"):
            fields[name] = {metric: float(value) for metric, value in plain[name].items()}
        for name in ("replans", "threads"):
            fields[name] = [tuple(one) for one in plain.get(name, ())]
        fields["actions"] = [
            Action(**{**one, "failures": tuple(one["failures"])})
            for one in plain.get("actions", ())
        ]
        fields["rollbacks"] = [AlertRollback(**one) for one in plain.get("rollbacks", ())]
        fields["micro_rows"] = {int(i): rows for i, rows in plain.get("micro_rows", {}).items()}
        fields["verdict"] = plain.get("verdict") and Verdict.from_dict(plain["verdict"])
        return cls(**fields)


@dataclass
class Ledger:
    """Entries of all stages begun so far; every change is on disk before training continues."""

    path: Path
    decisions: dict[str, Any] = field(default_factory=dict)
    """Resolved `auto` settings, and the initial weights of the run."""
    entries: list[Entry] = field(default_factory=list)
    writes: bool = True
    """Whether this rank writes the file: rank 0 only; the others hold the same data."""

    @classmethod
    def open(cls, path: Path, *, writes: bool = True) -> Ledger:
        """Read the ledger at `path`, or create an empty one."""
        if not path.exists():
            return cls(path, writes=writes)
        plain = read_json(path, LOST)
        try:
            if (version := plain["schema_version"]) != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")
            entries = [Entry.from_dict(entry) for entry in plain["stages"]]
            return cls(path, dict(plain["decisions"]), entries, writes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            got: object = "entries in an unknown format"
            if isinstance(error, KeyError | ValueError):
                got = f"no {error}" if isinstance(error, KeyError) else error
            what = f"{path} is damaged, or was written by another version of yxanul"
            raise YxanulError(what, got=got, hint=LOST) from None

    def write(self) -> None:
        """Write the ledger atomically."""
        if not self.writes:
            return
        entries = [entry.to_dict() for entry in self.entries]
        write_json(
            self.path,
            {"schema_version": SCHEMA_VERSION, "decisions": self.decisions, "stages": entries},
        )

    def entry(self, name: str) -> Entry | None:
        """Return a stage's entry; None if the stage has not begun."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def threads_at(self, name: str, steps_done: int) -> int | None:
        """Return the number of CPU threads chosen for a step of a stage; None if never chosen."""
        threads = self.decisions.get("threads")
        for entry in self.entries:
            events = [n for step, n in entry.threads if entry.name != name or step <= steps_done]
            threads = events[-1] if events else threads
            if entry.name == name:
                break
        return threads

    def best_metrics(self, before: str) -> dict[str, float]:
        """Return the best value of each metric at the gates of stages earlier than `before`."""
        best: dict[str, float] = {}
        for entry in self.entries:
            if entry.name == before:
                break
            finite = {name: value for name, value in entry.at_end.items() if math.isfinite(value)}
            for metric, value in finite.items():
                if metric not in best or is_better(metric, value, best[metric]):
                    best[metric] = value
        return best
