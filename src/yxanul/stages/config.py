"""Settings of a stage: its mix, budget, curriculum, learning rate and gate."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from yxanul.base.metric_names import check_metric, domain_of, matching, task_of
from yxanul.base.settings import Misfit, Settings
from yxanul.optim.config import OptimSettings, ScheduleSettings
from yxanul.train.config import PhaseSettings, Weights


class Budget(Settings):
    """Length of a stage: exactly one of the four."""

    steps: int | None = Field(default=None, gt=0, le=10**12)
    """Optimizer steps."""
    tokens: int | None = Field(default=None, gt=0, le=10**18)
    """Target tokens, rounded up to a whole step."""
    epochs: Annotated[float, Field(gt=0, le=1e6)] | Weights | None = None
    """Epochs over the source of the mix that is exhausted first; or epochs by source, which also
    define the mix."""
    minutes: float | None = Field(default=None, gt=0, le=1e7)
    """Minutes of training; converted to tokens at the speed of the first steps, and again whenever
    the speed changes; each conversion is recorded in the ledger."""

    @model_validator(mode="after")
    def _one(self) -> Budget:
        _check_exactly_one(self, "a budget")
        return self

    def __str__(self) -> str:
        given = self.model_dump(exclude_none=True)
        return ", ".join(f"{value} {unit}" for unit, value in given.items())

    @property
    def needs_all_text(self) -> bool:
        """Whether the stage has to wait until all text is encoded: epochs need the token counts,
        and encoding in the background would distort the speed that minutes depend on."""
        return self.epochs is not None or self.minutes is not None


class Rule(Settings):
    """Bound on a metric at the end of a stage: exactly one of `at_most` and `at_least`."""

    metric: str
    """Metric name, such as val/stories/bits_per_byte or task/blimp/accuracy; a * matches every
    domain or task."""
    at_most: float | None = None
    """Largest value that passes."""
    at_least: float | None = None
    """Smallest value that passes."""
    against: Literal["start", "best", "xz"] | None = None
    """Divide by a reference: the metric at the start of the stage, its best at earlier gates, or
    the bits per byte of `xz -9e` on the same text, which makes bounds comparable across texts."""
    over: Literal["stage", "earlier", "all"] | None = None
    """Domains that a * matches: those that this stage is the first to train, those of earlier
    stages, or all. Default: stage with against start, earlier with against best, else all."""

    @field_validator("metric")
    @classmethod
    def _is_known(cls, metric: str) -> str:
        return check_metric(metric)

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if (self.at_most is None) == (self.at_least is None):
            got = "neither" if self.at_most is None else "both"
            raise Misfit(
                f"a rule needs either at_most or at_least, got {got}", "at_most", "at_least"
            )
        if self.against and self.metric.startswith("val/") and domain_of(self.metric) is None:
            raise Misfit(
                f"against needs a metric of one domain, but {self.metric} pools all domains; use"
                " val/<domain>/... or val/*/...",
                "against",
                "metric",
            )
        if self.against == "xz" and (
            task_of(self.metric) or not self.metric.endswith("/bits_per_byte")
        ):
            raise Misfit(
                f"against xz needs bits per byte, got {self.metric}; use"
                " val/<domain>/bits_per_byte",
                "against",
                "metric",
            )
        if self.over is not None and "*" not in self.metric:
            raise Misfit(
                f"over needs a metric with *, such as val/*/perplexity, got {self.metric}",
                "over",
                "metric",
            )
        return self

    @property
    def bound(self) -> tuple[str, float]:
        """Key and value of the bound."""
        if self.at_most is not None:
            return "at_most", self.at_most
        assert self.at_least is not None
        return "at_least", self.at_least

    @property
    def scope(self) -> str:
        """Domains that a * matches: stage, earlier or all."""
        return self.over or {"start": "stage", "best": "earlier"}.get(self.against or "", "all")

    def domains_not_measured(self, own: set[str], earlier: set[str]) -> list[str]:
        """Return the domains that the rule covers but that have no measurement, in a stage that
        trains `own` after stages that trained `earlier`."""
        domain, both = domain_of(self.metric), own | earlier
        if domain is None:
            return []
        scope = {"stage": own - earlier, "earlier": earlier, "all": both}[self.scope]
        covered = matching(domain, scope) if "*" in domain else [domain]
        known = {"start": own, "best": earlier}.get(self.against or "", both)
        return sorted(set(covered) - known)


DEFAULT_RULES = (
    Rule(metric="val/*/perplexity", against="start", at_most=1.0),
    Rule(metric="val/*/perplexity", against="best", at_most=1.5),
)
"""New domains improved, and earlier domains were not forgotten."""


class GateSettings(Settings):
    """Condition on held-out metrics that a stage must meet before the next one starts."""

    rules: tuple[Rule, ...] = ()
    """Bounds on metrics; all must hold. Of a task, the whole 95 % interval must be within a bound
    without `against`."""
    targets: tuple[Rule, ...] = ()
    """Bounds that are reported but need not hold."""
    default_rules: bool = True
    """Also require that the perplexity of each domain new in the stage has not risen since its
    start, and that the perplexity of each earlier domain is at most 1.5 times its best."""

    def all_rules(self) -> tuple[Rule, ...]:
        """Return the default rules, unless disabled, and the stage's own."""
        return (*DEFAULT_RULES, *self.rules) if self.default_rules else self.rules

    def metrics(self, against: str | None = None) -> list[str]:
        """Return the metrics of the stage's own rules and targets: all, or those with `against`."""
        rules = (*self.rules, *self.targets)
        return [rule.metric for rule in rules if against in (None, rule.against)]


class Extend(Settings):
    """Train a stage that failed its gate for longer."""

    share: float = Field(default=0.5, gt=0, le=10)
    """Length of an extension, as a share of the budget's tokens; it trains at the shape of the last
    phase, with a learning rate that warms up to half the peak over 2 % and decays again."""
    times: int = Field(default=1, gt=0, le=100)
    """Maximum number of extensions."""


class Rollback(Settings):
    """Return to the best checkpoint of a stage that failed its gate, with a lower learning rate."""

    to: Literal["best"] = "best"
    """Checkpoint to return to, by `train.checkpoint.best`. The steps after it are done again, on
    text that follows what was read so far. Skipped if the best checkpoint is the last one."""
    lr_scale: float = Field(default=0.5, gt=0, le=1)
    """Factor on the learning rate of these steps."""
    times: int = Field(default=1, gt=0, le=100)
    """Maximum number of rollbacks."""


class RaiseReplay(Extend):
    """Extend a stage that failed its gate, with more rows from earlier stages."""

    raise_to: float = Field(gt=0, lt=1)
    """Share of the rows that come from the mixes of earlier stages, from then on."""


class OnFail(Settings):
    """Action after a failed gate, which then runs again: exactly one of the three."""

    extend: Extend | None = None
    """Train longer."""
    rollback: Rollback | None = None
    """Return to the best checkpoint, with a lower learning rate."""
    replay: RaiseReplay | None = None
    """Train longer, with more rows from earlier stages."""

    @model_validator(mode="after")
    def _one(self) -> OnFail:
        _check_exactly_one(self, "an action")
        return self

    @property
    def action(self) -> Extend | Rollback | RaiseReplay:
        """The action's settings."""
        action = self.extend or self.rollback or self.replay
        assert action is not None
        return action


class StageOptim(Settings):
    """Per-stage overrides of the recipe's `optim` section."""

    peak_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of this stage; also scales `muon_lr`."""
    muon_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of the matrices under muon in this stage."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of this stage."""
    schedule: ScheduleSettings | None = None
    """Learning-rate schedule of this stage."""


class StageSettings(Settings):
    """One stage of training."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Name of the stage in the ledger and in metrics."""
    mix: Weights = Field(default_factory=dict)
    """Sampling weight of each source; leave out if the budget gives epochs by source or every phase
    has its own mix."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows that come from the mixes of all earlier stages, each with the same weight,
    so that what they taught is not forgotten. An epoch counts the other rows only."""
    budget: Budget
    """Length of the stage."""
    curriculum: tuple[PhaseSettings, ...] = Field(min_length=1)
    """Phases, in order."""
    optim: StageOptim = StageOptim()
    """Overrides of the recipe's `optim` section."""
    gate: GateSettings = GateSettings()
    """Condition for passing the stage."""
    on_fail: Literal["stop"] | OnFail | tuple[OnFail, ...] = "stop"
    """What to do if the gate fails, before the run stops with exit code 3: nothing, one action, or
    several, tried in order."""

    @model_validator(mode="after")
    def _check(self) -> StageSettings:
        by_source = isinstance(self.budget.epochs, dict)
        if by_source and self.mix:
            raise Misfit(
                "epochs by source define the mix; leave mix out", "mix", ("budget", "epochs")
            )
        mixes: dict[tuple[str | int, ...], dict[str, float]] = {
            ("curriculum", number, "mix"): phase.mix
            for number, phase in enumerate(self.curriculum)
            if phase.mix
        }
        if self.budget.epochs is not None and mixes:
            raise Misfit(
                "a budget in epochs needs one mix for all phases; use tokens",
                ("budget", "epochs"),
                *mixes,
            )
        if self.own_mix or len(mixes) < len(self.curriculum):
            mixes[("budget", "epochs") if by_source else ("mix",)] = self.own_mix
        for keys, mix in mixes.items():
            if not any(mix.values()):
                raise Misfit("a mix needs at least one weight above 0", keys)
        _check_starts(self.curriculum)
        _check_exact_tokens(self.curriculum, self.budget)
        return self

    @property
    def attempts(self) -> list[Extend | Rollback | RaiseReplay]:
        """Actions after failed gates, in order, each as often as it may be taken."""
        if self.on_fail == "stop":
            return []
        options = (self.on_fail,) if isinstance(self.on_fail, OnFail) else self.on_fail
        return [option.action for option in options for _ in range(option.action.times)]

    @property
    def own_mix(self) -> dict[str, float]:
        """Mix of the phases that have none: `mix`, or the epochs by source."""
        return self.budget.epochs if isinstance(self.budget.epochs, dict) else self.mix

    def domains(self) -> list[str]:
        """Return the sources that the phases of this stage sample from, without replay."""
        mixes = [phase.mix or self.own_mix for phase in self.curriculum]
        return sorted({name for mix in mixes for name, weight in mix.items() if weight > 0})


def longest_row(stage: StageSettings) -> int:
    """Return the longest sequence length of a stage."""
    return max(phase.seq_len for phase in stage.curriculum)


def stage_optim(optim: OptimSettings, stage: StageSettings) -> OptimSettings:
    """Return the recipe's optimizer settings with the stage's overrides."""
    changes = {name: value for name, value in stage.optim if value is not None}
    if optim.muon_lr is not None and "peak_lr" in changes:
        changes = {"muon_lr": optim.muon_lr * changes["peak_lr"] / optim.peak_lr} | changes
    return OptimSettings.model_validate(optim.model_dump() | changes)


def _check_exactly_one(settings: Settings, what: str) -> None:
    """Reject settings of which none, or more than one, is given."""
    given = [name for name, value in settings if value is not None]
    if len(given) != 1:
        *names, last = type(settings).model_fields
        got = " and ".join(given) or "none"
        raise Misfit(
            f"{what} needs exactly one of {', '.join(names)} and {last}, got {got}", *given
        )


def _check_exact_tokens(phases: tuple[PhaseSettings, ...], budget: Budget) -> None:
    """Reject a token budget larger than the sum of the phases' tokens."""
    exact = [phase.tokens for phase in phases if phase.tokens is not None]
    if budget.tokens is not None and len(exact) == len(phases) and sum(exact) < budget.tokens:
        raise Misfit(
            f"the phases' tokens add up to {sum(exact)}, less than the budget's {budget.tokens}",
            ("budget", "tokens"),
            ("curriculum",),
        )


def _check_starts(phases: tuple[PhaseSettings, ...]) -> None:
    """Reject phases given in different units or out of order."""
    if len(phases) == 1 and phases[0].share is None:
        if phases[0].from_step or phases[0].from_tokens:
            raise Misfit(
                "the first phase must start at 0",
                ("curriculum", 0, "from_step" if phases[0].from_step else "from_tokens"),
            )
        return
    for unit in ("share", "from_step", "from_tokens", "tokens"):
        starts = [getattr(phase, unit) for phase in phases]
        if all(start is None for start in starts):
            continue
        if any(start is None for start in starts):
            odd = starts.index(None) if starts[0] is not None else 0
            raise Misfit(f"{unit} must be given for every phase or for none", ("curriculum", odd))
        if unit == "share":
            if abs(sum(starts) - 1) > 1e-6:
                raise Misfit(
                    f"the shares of a curriculum must add up to 1, got {sum(starts):g}",
                    *(("curriculum", number, "share") for number in range(len(phases))),
                )
        elif unit != "tokens":
            wrong = [n for n, (one, two) in enumerate(pairwise([-1, *starts])) if one >= two]
            if starts[0] or wrong:
                raise Misfit(
                    f"{unit} must start at 0 and increase from phase to phase, got {starts}",
                    ("curriculum", 0 if starts[0] else wrong[0], unit),
                )
        return
    raise Misfit(
        "with several phases each needs share, from_step, from_tokens or tokens", "curriculum"
    )
