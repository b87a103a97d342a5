"""Settings for fp8, and the shapes it supports."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.model.config import ModelSettings

FP8_MULTIPLE = 16
"""Matrix dimensions must be multiples of this."""


class Fp8Settings(Settings):
    """How the projections are computed if the precision is fp8."""

    engine: Literal["torchao", "transformer_engine", "none"] = "torchao"
    """Package with the fp8 layers; none: `precision: auto` never tries fp8."""
    scaling: Literal["tensorwise", "rowwise"] = "tensorwise"
    """One scale per tensor (fastest) or per row (closest to bf16; torchao only)."""

    @model_validator(mode="after")
    def _check(self) -> Fp8Settings:
        if self.engine == "transformer_engine" and self.scaling == "rowwise":
            raise Misfit(
                "engine transformer_engine has no rowwise scaling; use tensorwise", "scaling"
            )
        return self


def fp8_misfit(model: ModelSettings) -> str | None:
    """Return the first model dimension that fp8 does not support, or None if all are supported."""
    sizes = {
        "width": model.width,
        "num_heads x head_width": model.num_heads * model.head_width,
        "num_kv_heads x head_width": model.num_kv_heads * model.head_width,
        "ffn_width": model.ffn_width,
    }
    odd = (f"{name} is {size}" for name, size in sizes.items() if size % FP8_MULTIPLE)
    return next(odd, None)
