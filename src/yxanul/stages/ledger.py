"""The ledger: what was decided, measured and judged in a run, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, write_json
from yxanul.base.metric_names import is_better
from yxanul.eval.score import Score, named
from yxanul.stages.gates import Verdict

SCHEMA_VERSION = 1
LOST = "bring it back from a copy, or choose another folder with --out"
"""What is left to do without a ledger."""

Status = Literal["running", "passed", "failed"]
_PAIRS = ("replans", "extensions")


@dataclass
class Entry:
    """One stage in the ledger."""

    name: str
    status: Status
    tokens: int
    """Planned target tokens: what the budget came to."""
    steps: int
    """Planned updates."""
    first_step: int
    """Updates that the run had done when the stage began."""
    at_start: dict[str, float]
    """Metrics of the stage's domains before its first step."""
    positions: dict[str, int] = field(default_factory=dict)
    """Tokens of each source that the run had read when the stage began."""
    minutes: float | None = None
    """The budget, where it was given in minutes."""
    minutes_tokens: int | None = None
    """The tokens that those minutes were thought to come to before the first step."""
    replans: list[tuple[int, int]] = field(default_factory=list)
    """What they came to since: after which update of the stage, and the tokens of all minutes at
    the speed measured by then."""
    tokens_per_second: float | None = None
    """The speed that the last of these figures rests on."""
    micro_rows: dict[int, int] = field(default_factory=dict)
    """Rows of a micro-batch that fit, by phase: found before the first step, or halved since."""
    micro_rows_for: str = ""
    """The setting and the devices that they were found for."""
    cooldown_steps: int | None = None
    """Where an early end was asked for: the updates that the stage then has."""
    cooldown_of: int | None = None
    """The updates that it had before; another budget since takes the early end back."""
    extensions: list[tuple[int, int]] = field(default_factory=list)
    """What failed gates added: after which update of the stage, and how many tokens."""
    at_end: dict[str, float] = field(default_factory=dict)
    """Metrics of all domains so far, at the gate."""
    verdict: dict[str, Any] | None = None
    """The gate's findings."""

    def judged(self, metrics: dict[str, float], verdict: Verdict) -> None:
        """Note a verdict and the metrics it is based on."""
        self.at_end, self.verdict = metrics, verdict.to_dict()
        self.status = "passed" if verdict.passed else "failed"

    @property
    def extended_tokens(self) -> int:
        """Target tokens that failed gates added to the budget's."""
        return sum(tokens for _, tokens in self.extensions)

    def findings(self) -> list[str]:
        """Return what the gate found, a line each."""
        if self.verdict is None:
            return []
        return [str(finding) for finding in Verdict.from_dict(self.verdict).findings]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Entry:
        """Read what `to_dict` returned."""
        if plain["status"] not in get_args(Status):
            raise ValueError(f"the status {plain['status']!r}")
        metrics = {name: _metrics(plain[name]) for name in ("at_start", "at_end")}
        pairs = {name: [tuple(one) for one in plain.get(name, ())] for name in _PAIRS}
        micro_rows = {int(i): rows for i, rows in plain.get("micro_rows", {}).items()}
        verdict = plain.get("verdict") and Verdict.from_dict(plain["verdict"]).to_dict()
        fields = {**plain, **metrics, **pairs, "micro_rows": micro_rows, "verdict": verdict}
        return cls(**fields)


@dataclass
class Ledger:
    """The entries of all stages begun so far; every change is on disk before work goes on."""

    path: Path
    decisions: dict[str, Any] = field(default_factory=dict)
    """What `auto` came to on this machine, and the weights that the run began from."""
    entries: list[Entry] = field(default_factory=list)
    writes: bool = True
    """False in all processes of a run but the first: they know the same and write nothing."""

    @classmethod
    def open(cls, path: Path, *, writes: bool = True) -> Ledger:
        """Read the ledger at `path`, or begin an empty one."""
        if not path.exists():
            return cls(path, writes=writes)
        plain = read_json(path, LOST)
        try:
            if (version := plain["schema_version"]) != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, not {SCHEMA_VERSION}")
            entries = [Entry.from_dict(entry) for entry in plain["stages"]]
            return cls(path, dict(plain["decisions"]), entries, writes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            found: object = "entries of another form"
            if isinstance(error, KeyError | ValueError):
                found = f"no {error}" if isinstance(error, KeyError) else error
            what = f"{path} is damaged, or was written by another version of yxanul"
            raise YxanulError(what, got=found, hint=LOST) from None

    def write(self) -> None:
        """Put the ledger on disk, whole or not at all."""
        if not self.writes:
            return
        entries = [entry.to_dict() for entry in self.entries]
        write_json(
            self.path,
            {"schema_version": SCHEMA_VERSION, "decisions": self.decisions, "stages": entries},
        )

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a stage that has begun."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def best_metrics(self, before: str) -> dict[str, float]:
        """Return, by name, the best value at the gates of the stages ahead of `before`."""
        best: dict[str, float] = {}
        for entry in self.entries:
            if entry.name == before:
                break
            for metric, value in entry.at_end.items():
                if metric not in best or is_better(metric, value, best[metric]):
                    best[metric] = value
        return best


def _metrics(plain: dict[str, Any]) -> dict[str, float]:
    """Return named metrics; ledgers of 0.1 have a mapping of figures for each domain."""
    if any(isinstance(value, dict) for value in plain.values()):
        return named({domain: Score.from_dict(score) for domain, score in plain.items()})
    return plain
