"""Settings of training and of the phases of a curriculum."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.checkpoint.config import CheckpointSettings
from yxanul.train.mixed_precision.config import Fp8Settings

PRECISIONS_OF = {
    "fsdp": ("auto", "fp32", "bf16", "fp16"),
    "deepspeed": ("auto", "fp32", "bf16"),
}
"""The arithmetic of the strategies that divide the state; the others have any."""

Weights = dict[str, Annotated[float, Field(ge=0)]]
"""By source: how much of it."""


class PhaseSettings(Settings):
    """One phase of a curriculum: from where on, and with which shapes and scales."""

    seq_len: int = Field(gt=0)
    """Tokens in a row."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Share of the stage's budget, in the unit the budget is counted in."""
    from_step: int | None = Field(default=None, ge=0)
    """The stage's step at which the phase starts (steps already done)."""
    from_tokens: int | None = Field(default=None, ge=0)
    """The stage's token count at (or just after) which the phase starts."""
    tokens: int | None = Field(default=None, gt=0)
    """Exactly so many target tokens: the phase's last step is as small as that takes."""
    device_batch_size: int | None = Field(default=None, gt=0)
    """Rows of a micro-batch on one device; absent: they follow from `train.batch_tokens`."""
    grad_accum_steps: int = Field(default=1, gt=0)
    """Micro-batches a step; goes with `device_batch_size`."""
    devices: int = Field(default=1, gt=0)
    """Devices that each take `device_batch_size` rows in each micro-batch. The step is the same on
    any number of them: fewer take more micro-batches."""
    lr_scale: float = Field(default=1.0, gt=0)
    """Factor on the scheduled learning rate."""
    grad_clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm; absent: `optim.grad_clip`."""
    mix: Weights | None = None
    """Weight of each source; absent: the stage's mix."""

    @model_validator(mode="after")
    def _check(self) -> PhaseSettings:
        if (self.grad_accum_steps > 1 or self.devices > 1) and self.device_batch_size is None:
            raise Misfit(
                "grad_accum_steps and devices need device_batch_size",
                "grad_accum_steps" if self.grad_accum_steps > 1 else "devices",
            )
        names = ("share", "from_step", "from_tokens", "tokens")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise Misfit(
                f"a phase has one of share, from_step, from_tokens and tokens, got"
                f" {' and '.join(given)}",
                *given[1:],
            )
        return self


class SpikeSettings(Settings):
    """When a finite step is an outlier, and is skipped like one that is not finite."""

    deviations: float = Field(default=6.0, gt=0)
    """So many standard deviations above the mean of the last steps, loss or gradient norm."""
    window_steps: int = Field(default=128, ge=4)
    """Over so many steps of the phase; nothing is skipped in the first half of them."""


class TrainSettings(Settings):
    """How a model is trained, whatever the stage."""

    precision: Literal["auto", "fp32", "bf16", "fp16", "fp8"] = "auto"
    """Arithmetic of the model; master weights and optimizer state are always fp32."""
    fp8: Fp8Settings = Fp8Settings()
    """How fp8 is computed, where the precision is fp8 or auto tries it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    strategy: Literal["auto", "ddp", "fsdp", "deepspeed"] = "auto"
    """How several processes share the work; auto is ddp. One process needs none."""
    deepspeed: str | None = None
    """A DeepSpeed configuration (JSON file), for the strategy deepspeed; absent: ZeRO stage 1."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the layers by torch.compile; auto does so on a GPU. It costs seconds at the start."""
    attention: Literal["auto", "sdpa", "cpu_blockwise", "flex", "varlen", "flash", "reference"] = (
        "auto"
    )
    """Attention back end; auto follows a rule for the device, dtype and mask."""
    batch_tokens: int = Field(default=4096, gt=0)
    """Target tokens a step, for phases that do not give rows."""
    micro_batch_size: int | Literal["auto"] = "auto"
    """Rows that go through the model at once; auto keeps a micro-batch near 8,192 tokens."""
    gradient_checkpointing: Literal["none", "full"] | PositiveInt = "none"
    """Layers that are computed again for their gradients, to save memory: full, or every n-th."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """When to write checkpoints and how many to keep."""
    max_skipped_steps: int = Field(default=10, gt=0)
    """Stop after so many updates in a row that were skipped."""
    skip_spikes: SpikeSettings | None = None
    """Skip a step whose loss or gradient norm lies far above the last ones; null: none."""

    @model_validator(mode="after")
    def _check(self) -> TrainSettings:
        if self.micro_batch_size != "auto" and self.micro_batch_size < 1:
            raise Misfit("must be at least 1, or auto", "micro_batch_size")
        if self.deepspeed is not None and self.strategy != "deepspeed":
            raise Misfit(
                f"a deepspeed file needs strategy deepspeed, not {self.strategy}",
                "deepspeed",
                "strategy",
            )
        if self.precision not in PRECISIONS_OF.get(self.strategy, (self.precision,)):
            raise Misfit(
                f"strategy {self.strategy} does not train in {self.precision}; strategy ddp does",
                "precision",
                "strategy",
            )
        if self.precision == "fp8" and self.fp8.engine == "none":
            raise Misfit(
                "precision fp8 needs an fp8.engine other than none", "precision", ("fp8", "engine")
            )
        return self

    @property
    def checkpoint_every(self) -> int | None:
        """Every how many layers one is recomputed for its gradients; None: none is."""
        wanted = self.gradient_checkpointing
        return {"none": None, "full": 1}[wanted] if isinstance(wanted, str) else wanted
