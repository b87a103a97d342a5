"""Settings of training and of the phases of a curriculum."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.checkpoint.config import CheckpointSettings
from yxanul.optim.config import check_at_most_one
from yxanul.train.mixed_precision.config import Fp8Settings

PRECISIONS_OF = {
    "fsdp": ("auto", "fp32", "bf16", "fp16"),
    "deepspeed": ("auto", "fp32", "bf16"),
}
"""Precisions that the sharding strategies support; the others support all."""

MAX_ROWS = 10_000_000
"""Maximum number of rows per step; each is planned one by one."""

Weights = dict[str, Annotated[float, Field(ge=0)]]
"""Mix weight of each source."""


class PhaseSettings(Settings):
    """One phase of a curriculum: where it starts, its shapes and its scales."""

    seq_len: int = Field(gt=0)
    """Tokens per row."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Share of the stage's budget, in the budget's unit."""
    from_step: int | None = Field(default=None, ge=0)
    """Stage step at which the phase starts (completed steps)."""
    from_tokens: int | None = Field(default=None, ge=0)
    """Stage token count at (or just after) which the phase starts."""
    tokens: int | None = Field(default=None, gt=0)
    """Exact number of target tokens; the last steps are smaller if needed to meet it."""
    device_batch_size: int | None = Field(default=None, gt=0)
    """Rows per micro-batch on one device; absent: derived from `train.batch_tokens`."""
    grad_accum_steps: int = Field(default=1, gt=0)
    """Micro-batches per step; requires `device_batch_size`."""
    devices: int = Field(default=1, gt=0)
    """Devices that each take `device_batch_size` rows per micro-batch. The step is the same on any
    number of devices: fewer take more micro-batches."""
    lr_scale: float = Field(default=1.0, gt=0)
    """Factor on the scheduled learning rate."""
    grad_clip: float | None = Field(default=None, gt=0)
    """Maximum gradient norm; absent: `optim.grad_clip`."""
    mix: Weights | None = None
    """Weight of each source; absent: the stage's mix."""

    @model_validator(mode="after")
    def _check(self) -> PhaseSettings:
        if (self.grad_accum_steps > 1 or self.devices > 1) and self.device_batch_size is None:
            raise Misfit(
                "grad_accum_steps and devices need device_batch_size",
                "grad_accum_steps" if self.grad_accum_steps > 1 else "devices",
            )
        check_at_most_one(self, "share", "from_step", "from_tokens", "tokens")
        return self


def rows_of_step(phase: PhaseSettings, train: TrainSettings) -> int:
    """Return the rows of a step; 0 if one row has more tokens than the step."""
    if phase.device_batch_size is not None:
        return phase.device_batch_size * phase.grad_accum_steps * phase.devices
    return train.batch_tokens // phase.seq_len


class TrainSettings(Settings):
    """Training settings shared by all stages."""

    precision: Literal["auto", "fp32", "bf16", "fp16", "fp8"] = "auto"
    """Compute precision of the model; master weights and optimizer state are always fp32."""
    fp8: Fp8Settings = Fp8Settings()
    """fp8 settings, used if the precision is fp8 or auto tries it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Training device; auto uses a GPU if one is available."""
    strategy: Literal["auto", "ddp", "fsdp", "deepspeed"] = "auto"
    """How several processes share the work; auto is ddp. A single process uses none."""
    deepspeed: str | None = None
    """DeepSpeed configuration (JSON file) for strategy deepspeed; absent: ZeRO stage 1."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the layers with torch.compile; auto does so on a GPU. Costs seconds at startup."""
    attention: Literal["auto", "sdpa", "cpu_blockwise", "flex", "varlen", "flash", "reference"] = (
        "auto"
    )
    """Attention backend; auto chooses by device, dtype and mask."""
    batch_tokens: int = Field(default=4096, gt=0)
    """Target tokens per step, for phases without `device_batch_size`."""
    micro_batch_size: int | Literal["auto"] = "auto"
    """Rows per micro-batch; auto: the most that fit into GPU memory, or about 8,192 tokens on a CPU
    and with fsdp or deepspeed."""
    gradient_checkpointing: Literal["none", "full"] | PositiveInt = "none"
    """Activation checkpointing: recompute all layers (full) or every n-th in the backward pass."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """When to write checkpoints and how many to keep."""
    max_skipped_steps: int = Field(default=10, gt=0)
    """Stop after this many consecutive skipped updates."""

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
                f"strategy {self.strategy} does not support {self.precision}; strategy ddp does",
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
        """Checkpoint the activations of every n-th layer; None: of no layer."""
        value = self.gradient_checkpointing
        return {"none": None, "full": 1}[value] if isinstance(value, str) else value
