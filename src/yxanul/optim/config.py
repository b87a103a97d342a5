"""Settings for the optimizer and its learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.optim.table import OPTIMIZERS, USUAL_WIDTH, readers_of, usual_lr

DEFAULT_WARMUP_FRACTION = 0.01
DEFAULT_MIN_LR_FRACTION = 0.1
DEFAULT_DECAY_FRACTION = 0.2

Role = Literal["matrix", "embedding", "norm"]
"""Role of a parameter: weight matrix, embedding table or norm scale."""
Clock = Literal["steps", "tokens"]
Rate = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]

WITH_FLOOR = ("linear", "cosine", "wsd")

if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]


def check_at_most_one(settings: Settings, *names: str) -> list[str]:
    """Return which of the settings is given, in a list; raise Misfit if there are several."""
    given = [name for name in names if getattr(settings, name) is not None]
    if len(given) > 1:
        raise Misfit(
            f"set only one of {', '.join(names)}, got {' and '.join(given)}"
            " (set the others to null)",
            *given,
        )
    return given


class ScheduleSettings(Settings):
    """Learning-rate schedule."""

    name: Literal["linear_to_zero", "linear", "cosine", "constant", "wsd"] = "linear_to_zero"
    """Shape of the decay after the linear warm-up."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Warm-up in updates; the last of them has the peak rate."""
    warmup_tokens: int | None = Field(default=None, ge=0)
    """Warm-up in target tokens; the whole schedule is then counted in tokens."""
    warmup_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Warm-up as a share of the stage; default 0.01 if no warm-up is given."""
    schedule_unit: Clock | None = None
    """Unit of the schedule's progress; absent: the warm-up's unit, else steps."""
    min_lr: float | None = Field(default=None, ge=0)
    """Learning rate of the last update (linear, cosine, wsd)."""
    min_lr_fraction: float | None = Field(default=None, ge=0, le=1)
    """`min_lr` as a share of the peak; without either: 0.1 for linear and cosine, 0 for wsd."""
    decay_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the stage over which wsd decays; absent: 0.2."""

    @property
    def clock(self) -> Clock:
        """Unit of the schedule's progress."""
        if self.schedule_unit is not None:
            return self.schedule_unit
        return "tokens" if self.warmup_tokens is not None else "steps"

    @model_validator(mode="after")
    def _check_warmup(self) -> ScheduleSettings:
        check_at_most_one(self, "warmup_steps", "warmup_tokens", "warmup_fraction")
        for unit in ("steps", "tokens"):
            if getattr(self, f"warmup_{unit}") is not None and self.clock != unit:
                raise Misfit(
                    f"a warm-up in {unit} requires schedule_unit {unit}, got {self.clock}",
                    "schedule_unit",
                    f"warmup_{unit}",
                )
        return self

    @model_validator(mode="after")
    def _check_end(self) -> ScheduleSettings:
        given = check_at_most_one(self, "min_lr", "min_lr_fraction")
        if given and self.name not in WITH_FLOOR:
            raise Misfit(
                f"schedule {self.name} has no minimum rate; linear, cosine and wsd do",
                *given,
                "name",
            )
        if self.decay_fraction is not None and self.name != "wsd":
            raise Misfit(
                f"decay_fraction requires schedule wsd, not {self.name}", "decay_fraction", "name"
            )
        if self.name == "wsd":
            decay = self.decay_fraction or DEFAULT_DECAY_FRACTION
            if decay + (self.warmup_fraction or 0) > 1:
                raise Misfit(
                    f"warmup_fraction {self.warmup_fraction} and decay_fraction {decay} add up to"
                    " more than 1",
                    "warmup_fraction",
                    "decay_fraction",
                )
        return self


class EmaSettings(Settings):
    """EMA of the weights, used for evaluation, gates and as the start of the next stage."""

    decay: float = Field(default=0.999, gt=0, lt=1)
    """EMA decay per update; lower during the first updates."""


class OptimSettings(Settings):
    """Optimizer settings."""

    name: OptimizerName = "adamw"
    """muon updates matrices with orthogonalized momentum, all else with AdamW; lion uses the sign
    of momentum; sophia divides momentum by the Hessian's diagonal; adafactor keeps next to no
    state."""
    peak_lr: Rate = Field(default_factory=lambda data: usual_lr(data["name"], USUAL_WIDTH))
    """Learning rate at the end of the warm-up; absent: the usual one for the optimizer and the
    model's width (optim/table.py)."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay, times the learning rate; not applied to norms and 1-D parameters."""
    betas: tuple[Beta, Beta] | None = None
    """EMA decays of the gradient and its square (sophia: of the Hessian); absent: 0.9 and 0.95,
    lion 0.9 and 0.99, sophia 0.965 and 0.99; adafactor has none."""
    eps: float | None = Field(default=None, gt=0)
    """Guard against division by zero; absent: 1e-8, sophia 1e-12, adafactor 1e-30 (added to the
    squared gradient); lion has none."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """Maximum gradient norm; null: no clipping."""
    lr_scale_by_role: dict[Role, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Factor on the learning rate by parameter role (matrix, embedding, norm); 0 freezes them."""
    muon_lr: Rate | None = None
    """Peak learning rate of muon's matrices; absent: four times peak_lr."""
    hessian_steps: int | None = Field(default=None, gt=0)
    """Updates between two estimates of sophia's Hessian; absent: 10."""
    hessian_scale: float | None = Field(default=None, gt=0)
    """sophia's factor on the Hessian: a larger one clips fewer updates; absent: 0.05."""
    schedule: ScheduleSettings = ScheduleSettings()
    """Learning-rate schedule."""
    ema: EmaSettings | None = None
    """EMA of the weights, used for evaluation, gates and as the start of the next stage; null:
    none."""

    def at_width(self, width: int) -> OptimSettings:
        """Return the settings for a model of this width, with the usual peak_lr if none was given.

        Raises ValueError if the schedule's minimum rate is above it.
        """
        if "peak_lr" in self.model_fields_set:
            return self
        settings = self.model_copy(update={"peak_lr": usual_lr(self.name, width)})
        settings._check_floor()
        return settings

    @property
    def used_betas(self) -> tuple[float, float]:
        """Effective betas: as set, or the optimizer's default."""
        betas = self.betas or OPTIMIZERS[self.name].betas
        assert betas is not None
        return betas

    @property
    def used_eps(self) -> float:
        """Effective eps: as set, or the optimizer's default."""
        eps = self.eps or OPTIMIZERS[self.name].eps
        assert eps is not None
        return eps

    @property
    def min_lr_fraction(self) -> float | None:
        """Learning rate of the last update as a share of the peak; None if there is no minimum."""
        schedule = self.schedule
        if schedule.min_lr is not None:
            return schedule.min_lr / self.peak_lr
        if schedule.min_lr_fraction is None and schedule.name in ("linear", "cosine"):
            return DEFAULT_MIN_LR_FRACTION
        return schedule.min_lr_fraction

    @model_validator(mode="after")
    def _check(self) -> OptimSettings:
        self._check_floor()
        for key in type(self).model_fields:
            readers = readers_of(key)
            if self.name not in readers and getattr(self, key) is not None:
                raise Misfit(
                    f"{key} requires optimizer {' or '.join(readers)}, not {self.name}"
                    " (remove it, or set it to null)",
                    key,
                    "name",
                )
        return self

    def _check_floor(self) -> None:
        floor = self.schedule.min_lr
        if floor is not None and floor > self.peak_lr:
            raise Misfit(
                f"min_lr ({floor:g}) is above peak_lr ({self.peak_lr:g})",
                ("schedule", "min_lr"),
                "peak_lr",
            )
