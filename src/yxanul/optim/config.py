"""Settings of the optimizer and its learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.optim.table import OPTIMIZERS, USUAL_WIDTH, readers_of, usual_lr

DEFAULT_WARMUP_FRACTION = 0.01
DEFAULT_MIN_LR_FRACTION = 0.1
DEFAULT_DECAY_FRACTION = 0.2

Role = Literal["matrix", "embedding", "norm"]
"""What a parameter is: a matrix that multiplies, an embedding that is looked up, or the scale of a
norm."""
Clock = Literal["steps", "tokens"]
Rate = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]

WITH_FLOOR = ("linear", "cosine", "wsd")

if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]


class ScheduleSettings(Settings):
    """How the learning rate moves from the first update to the last."""

    name: Literal["linear_to_zero", "linear", "cosine", "constant", "wsd"] = "linear_to_zero"
    """What follows the linear warm-up."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Warm-up in updates; the peak is the rate of the last of them."""
    warmup_tokens: int | None = Field(default=None, ge=0)
    """Warm-up in target tokens; the whole schedule is then counted in tokens."""
    warmup_fraction: float | None = Field(default=None, ge=0, lt=1)
    """Warm-up as a share of the run; 0.01 where no warm-up is given."""
    schedule_unit: Clock | None = None
    """What progress is counted in; absent: what the warm-up is counted in, else steps."""
    min_lr: float | None = Field(default=None, ge=0)
    """Rate of the last update (linear, cosine, wsd)."""
    min_lr_fraction: float | None = Field(default=None, ge=0, le=1)
    """The same as a share of the peak; 0.1 where linear or cosine have neither, zero for wsd."""
    decay_fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the run over which wsd comes down; 0.2 where it is absent."""

    @property
    def clock(self) -> Clock:
        """What the schedule counts progress in."""
        if self.schedule_unit is not None:
            return self.schedule_unit
        return "tokens" if self.warmup_tokens is not None else "steps"

    @model_validator(mode="after")
    def _check_warmup(self) -> ScheduleSettings:
        names = ("warmup_steps", "warmup_tokens", "warmup_fraction")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise Misfit(
                f"one of warmup_steps, warmup_tokens and warmup_fraction,"
                f" got {' and '.join(given)} (set what you do not want to null)",
                *given,
            )
        for unit in ("steps", "tokens"):
            if getattr(self, f"warmup_{unit}") is not None and self.clock != unit:
                raise Misfit(
                    f"a warm-up in {unit} goes with the schedule_unit {unit}",
                    "schedule_unit",
                    f"warmup_{unit}",
                )
        return self

    @model_validator(mode="after")
    def _check_end(self) -> ScheduleSettings:
        if self.min_lr is not None and self.min_lr_fraction is not None:
            raise Misfit(
                "one of min_lr and min_lr_fraction, got both (set the other to null)",
                "min_lr",
                "min_lr_fraction",
            )
        floors = ("min_lr", "min_lr_fraction")
        given = [name for name in floors if getattr(self, name) is not None]
        if given and self.name not in WITH_FLOOR:
            raise Misfit(
                f"the schedule {self.name} has no floor; linear, cosine and wsd do", *given, "name"
            )
        if self.decay_fraction is not None and self.name != "wsd":
            raise Misfit(
                f"decay_fraction belongs to the schedule wsd, not to {self.name}",
                "decay_fraction",
                "name",
            )
        if self.name == "wsd":
            decay = self.decay_fraction or DEFAULT_DECAY_FRACTION
            if decay + (self.warmup_fraction or 0) > 1:
                raise Misfit(
                    "warmup_fraction and decay_fraction add up to more than the run",
                    "warmup_fraction",
                    "decay_fraction",
                )
        return self


class EmaSettings(Settings):
    """A running mean of the weights: what is evaluated, judged and given away is the mean, and the
    next stage begins from it."""

    decay: float = Field(default=0.999, gt=0, lt=1)
    """What an update leaves of the mean; the first updates leave less."""


class OptimSettings(Settings):
    """Which optimizer, at which rate."""

    name: OptimizerName = "adamw"
    """Muon moves the matrices along orthogonalised momentum, everything else by AdamW; lion by the
    sign of momentum; sophia by momentum over curvature; adafactor keeps next to no state."""
    peak_lr: Rate = Field(default_factory=lambda data: usual_lr(data["name"], USUAL_WIDTH))
    """Learning rate at the end of the warm-up; absent: what is usual for the optimizer and the
    width of the model (optim/table.py)."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled, times the rate; norms and every 1-D parameter have none."""
    betas: tuple[Beta, Beta] | None = None
    """Memory of the gradient and of its square (sophia: of the curvature); absent: 0.9 and 0.95,
    lion 0.9 and 0.99, sophia 0.965 and 0.99; adafactor has none."""
    eps: float | None = Field(default=None, gt=0)
    """Guard against division by zero; absent: 1e-8, sophia 1e-12, adafactor 1e-30 (beside the
    squared gradient); lion has none."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm; null clips nothing."""
    lr_scale_by_role: dict[Role, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Factor on the rate of a role's parameters (matrix, embedding, norm); 0 keeps them fixed."""
    muon_lr: Rate | None = None
    """Peak rate of the matrices under muon; absent: four times peak_lr."""
    hessian_steps: int | None = Field(default=None, gt=0)
    """Sophia estimates the curvature once in so many updates; absent: 10."""
    hessian_scale: float | None = Field(default=None, gt=0)
    """Sophia's factor on the curvature: a larger one bounds fewer updates; absent: 0.05."""
    schedule: ScheduleSettings = ScheduleSettings()
    """How the rate moves."""
    ema: EmaSettings | None = None
    """Running mean of the weights: it is what is evaluated and judged, and what the next stage
    begins from; null: none."""

    def at_width(self, width: int) -> OptimSettings:
        """Return these settings for a model of some width: with the usual rate, if none is given.

        Raises ValueError where the floor of the schedule is above it.
        """
        if "peak_lr" in self.model_fields_set:
            return self
        settings = self.model_copy(update={"peak_lr": usual_lr(self.name, width)})
        settings._check_floor()
        return settings

    @property
    def used_betas(self) -> tuple[float, float]:
        """The betas that the optimizer works with."""
        betas = self.betas or OPTIMIZERS[self.name].betas
        assert betas is not None
        return betas

    @property
    def used_eps(self) -> float:
        """The eps that the optimizer works with."""
        eps = self.eps or OPTIMIZERS[self.name].eps
        assert eps is not None
        return eps

    @property
    def min_lr_fraction(self) -> float | None:
        """Rate of the last update as a share of the peak; None where the schedule has no floor."""
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
                    f"{key} belongs to the optimizer {' or '.join(readers)}, not to {self.name}"
                    " (set it to null)",
                    key,
                    "name",
                )
        return self

    def _check_floor(self) -> None:
        floor = self.schedule.min_lr
        if floor is not None and floor > self.peak_lr:
            raise Misfit(
                f"the floor of the schedule ({floor:g}) is above the peak_lr ({self.peak_lr:g})",
                ("schedule", "min_lr"),
                "peak_lr",
            )
