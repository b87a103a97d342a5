"""Settings of fp8, and which shapes it can compute."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from yxanul.base.settings import Misfit, Settings
from yxanul.model.config import ModelSettings

FP8_MULTIPLE = 16
"""The matrix units take sizes that are a multiple of this."""


class Fp8Settings(Settings):
    """How the projections compute where the precision is fp8."""

    engine: Literal["torchao", "transformer_engine", "none"] = "torchao"
    """The package that brings the layers; none: never fp8, and `precision: auto` tries none."""
    scaling: Literal["tensorwise", "rowwise"] = "tensorwise"
    """One scale a tensor (fastest), or one a row (nearest to bf16; torchao only)."""

    @model_validator(mode="after")
    def _check(self) -> Fp8Settings:
        if self.engine == "transformer_engine" and self.scaling == "rowwise":
            raise Misfit(
                "engine transformer_engine has no rowwise scaling; use tensorwise", "scaling"
            )
        return self


def fp8_misfit(model: ModelSettings) -> str | None:
    """Return the first size of the model that fp8 cannot compute with, or None if all fit."""
    sizes = {
        "width": model.width,
        "num_heads x head_width": model.num_heads * model.head_width,
        "num_kv_heads x head_width": model.num_kv_heads * model.head_width,
        "ffn_width": model.ffn_width,
    }
    odd = (f"{name} is {size}" for name, size in sizes.items() if size % FP8_MULTIPLE)
    return next(odd, None)
