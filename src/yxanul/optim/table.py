"""The table of optimizers: settings, defaults, usual rates and who can divide them."""

from __future__ import annotations

from dataclasses import dataclass

from yxanul.base.registry import lookup

ADAMW_RATES = (
    # Measured on stories (docs/lab-notes.md): at width 128 it beat 5e-3 and 1e-2.
    (128, 3e-3),
    # At width 256 1e-3 beat 5e-4 and 2e-3 by the cosine of another trainer, and 7.5e-4 and 1.5e-3
    # were alike and far below 3e-3 by ours.
    (256, 1.1e-3),
    # Not measured: a way down from there to the smallest GPT-3.
    (384, 1e-3),
    (512, 9e-4),
    (640, 8e-4),
    # Table 2.1 of GPT-3 (Brown et al. 2020, arXiv 2005.14165).
    (768, 6e-4),
    (1024, 3e-4),
    (1536, 2.5e-4),
    (2048, 2e-4),
)
"""AdamW's rate up to a width; beyond the last one it falls like 1 / width."""
MUON_RATES = (
    # Measured at width 256: 3e-3 beat 1.5e-3, 4e-3 and 6e-3.
    (256, 3e-3),
    # Not measured: down to AdamW's rates, as its updates are as large (Liu et al. 2025, arXiv
    # 2502.16982); the matrices move at `muon_lr`.
    (384, 1.6e-3),
    (512, 1e-3),
    *ADAMW_RATES[4:],
)
"""Muon bears more than AdamW in narrow models."""


@dataclass(frozen=True)
class OptimizerRow:
    """All that is known of an optimizer before torch is loaded; `optim/<name>.py` computes it."""

    state_numbers: int
    """How many numbers it keeps for each weight, at least."""
    betas: tuple[float, float] | None = None
    """Where the settings give none; None: it has no betas."""
    eps: float | None = None
    """Where the settings give none; None: it has no eps."""
    settings: tuple[str, ...] = ()
    """The settings that only this one reads."""
    rates: tuple[tuple[int, float], ...] = ADAMW_RATES
    """The usual peak rate by width."""
    rate_factor: float = 1.0
    """On those rates. What holds at one width is taken to hold at all."""
    divided_by: tuple[str, ...] = ()
    """The strategies that can divide its state among processes; ddp, which divides nothing, takes
    any. ZeRO joins matrices end to end, and cuts; FSDP cuts rows, which muon joins again."""


OPTIMIZERS = {
    "adamw": OptimizerRow(2, (0.9, 0.95), 1e-8, divided_by=("fsdp", "deepspeed")),
    "muon": OptimizerRow(
        1, (0.9, 0.95), 1e-8, settings=("muon_lr",), rates=MUON_RATES, divided_by=("fsdp",)
    ),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Chen et al. 2023, arXiv
    # 2302.06675) want a third to a tenth of AdamW's rate.
    "lion": OptimizerRow(1, (0.9, 0.99), rate_factor=1 / 3, divided_by=("fsdp", "deepspeed")),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Liu et al. 2023, arXiv
    # 2305.14342) go higher, to a little less than AdamW's.
    "sophia": OptimizerRow(
        2, (0.965, 0.99), 1e-12, settings=("hessian_steps", "hessian_scale"), rate_factor=1 / 3
    ),
    # Measured at width 128: the best of 2e-3, 3e-3 and 1e-2 was AdamW's.
    "adafactor": OptimizerRow(0, eps=1e-30),
}

USUAL_WIDTH = 128
"""The width that is thought of where no model is known; no other has a higher rate."""


def usual_lr(optimizer: str, width: int) -> float:
    """Return the peak rate for a model of some width, in two digits."""
    row = lookup(OPTIMIZERS, optimizer, "optimizer")
    for largest, rate in row.rates:
        if width <= largest:
            return _in_two_digits(rate * row.rate_factor)
    largest, rate = row.rates[-1]
    return _in_two_digits(rate * row.rate_factor * largest / width)


def readers_of(setting: str) -> list[str]:
    """Return the optimizers that read a setting; all of them, of one that is for all."""
    rows = OPTIMIZERS.items()
    if setting in ("betas", "eps"):
        return [name for name, row in rows if getattr(row, setting) is not None]
    return [name for name, row in rows if setting in row.settings] or list(OPTIMIZERS)


def divided_by(strategy: str) -> list[str]:
    """Return the optimizers whose state a strategy can divide; none of one that divides nothing."""
    return [name for name, row in OPTIMIZERS.items() if strategy in row.divided_by]


def _in_two_digits(rate: float) -> float:
    return float(f"{rate:.1e}")
