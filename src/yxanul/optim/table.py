"""Table of optimizers: settings, defaults, usual learning rates and supported sharding."""

from __future__ import annotations

from dataclasses import dataclass

from yxanul.base.registry import lookup

ADAMW_RATES = (
    # Measured on stories (docs/lab-notes.md): at width 128 it beat 5e-3 and 1e-2.
    (128, 3e-3),
    # At width 256, 1e-3 beat 5e-4 and 2e-3 with another trainer's cosine schedule; with ours,
    # 7.5e-4 and 1.5e-3 were alike and had a far lower loss than 3e-3.
    (256, 1.1e-3),
    # Not measured: interpolated down to the smallest GPT-3.
    (384, 1e-3),
    (512, 9e-4),
    (640, 8e-4),
    # Table 2.1 of GPT-3 (Brown et al. 2020, arXiv 2005.14165).
    (768, 6e-4),
    (1024, 3e-4),
    (1536, 2.5e-4),
    (2048, 2e-4),
)
"""(width, AdamW's rate up to it); beyond the last width the rate falls like 1 / width."""
MUON_RATES = (
    # Measured at width 256: 3e-3 beat 1.5e-3, 4e-3 and 6e-3.
    (256, 3e-3),
    # Not measured: interpolated down to AdamW's rates, as its updates have the same RMS (Liu et
    # al. 2025, arXiv 2502.16982); the matrices use `muon_lr`.
    (384, 1.6e-3),
    (512, 1e-3),
    *ADAMW_RATES[4:],
)
"""Muon tolerates higher rates than AdamW in narrow models."""


@dataclass(frozen=True)
class OptimizerRow:
    """Metadata of an optimizer, available without torch; `optim/<name>.py` implements it."""

    state_numbers: int
    """State elements per weight, at least."""
    betas: tuple[float, float] | None = None
    """Default betas; None: it has none."""
    eps: float | None = None
    """Default eps; None: it has none."""
    settings: tuple[str, ...] = ()
    """Settings that only this optimizer reads."""
    rates: tuple[tuple[int, float], ...] = ADAMW_RATES
    """Usual peak rate by width."""
    rate_factor: float = 1.0
    """Factor on `rates`, measured at one width and assumed to hold at all."""
    divided_by: tuple[str, ...] = ()
    """Strategies that can shard its state; ddp, which shards nothing, supports any optimizer. ZeRO
    flattens and concatenates matrices; FSDP shards rows, which muon gathers."""


OPTIMIZERS = {
    "adamw": OptimizerRow(2, (0.9, 0.95), 1e-8, divided_by=("fsdp", "deepspeed")),
    "muon": OptimizerRow(
        1, (0.9, 0.95), 1e-8, settings=("muon_lr",), rates=MUON_RATES, divided_by=("fsdp",)
    ),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Chen et al. 2023, arXiv
    # 2302.06675) recommend a third to a tenth of AdamW's rate.
    "lion": OptimizerRow(1, (0.9, 0.99), rate_factor=1 / 3, divided_by=("fsdp", "deepspeed")),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Liu et al. 2023, arXiv
    # 2305.14342) recommend more, a little less than AdamW's.
    "sophia": OptimizerRow(
        2, (0.965, 0.99), 1e-12, settings=("hessian_steps", "hessian_scale"), rate_factor=1 / 3
    ),
    # Measured at width 128: the best of 2e-3, 3e-3 and 1e-2 was AdamW's.
    "adafactor": OptimizerRow(0, eps=1e-30),
}

USUAL_WIDTH = 128
"""Width assumed if no model is known; no other has a higher rate."""


def usual_lr(optimizer: str, width: int) -> float:
    """Return the usual peak rate for a model of this width, to two digits."""
    row = lookup(OPTIMIZERS, optimizer, "optimizer")
    for largest, rate in row.rates:
        if width <= largest:
            return _in_two_digits(rate * row.rate_factor)
    largest, rate = row.rates[-1]
    return _in_two_digits(rate * row.rate_factor * largest / width)


def readers_of(setting: str) -> list[str]:
    """Return the optimizers that read a setting; all of them for a common setting."""
    rows = OPTIMIZERS.items()
    if setting in ("betas", "eps"):
        return [name for name, row in rows if getattr(row, setting) is not None]
    return [name for name, row in rows if setting in row.settings] or list(OPTIMIZERS)


def divided_by(strategy: str) -> list[str]:
    """Return the optimizers whose state a strategy can shard; none for ddp."""
    return [name for name, row in OPTIMIZERS.items() if strategy in row.divided_by]


def _in_two_digits(rate: float) -> float:
    return float(f"{rate:.1e}")
