"""The peak rate where a recipe gives none: by optimizer, and by the width of the model."""

from __future__ import annotations

from yxanul.base.tables import pick

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

RATES = {
    "adamw": (ADAMW_RATES, 1.0),
    "muon": (MUON_RATES, 1.0),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Chen et al. 2023, arXiv
    # 2302.06675) want a third to a tenth.
    "lion": (ADAMW_RATES, 1 / 3),
    # Measured at width 128: 1e-3 beat 5e-4 and 2e-3. Its authors (Liu et al. 2023, arXiv
    # 2305.14342) go higher, to a little less than AdamW's.
    "sophia": (ADAMW_RATES, 1 / 3),
    # Measured at width 128: the best of 2e-3, 3e-3 and 1e-2 was AdamW's.
    "adafactor": (ADAMW_RATES, 1.0),
}
"""By optimizer: a table, and a factor on it. What holds at one width is taken to hold at all."""

USUAL_WIDTH = 128
"""The width that is thought of where no model is known; no other has a higher rate."""


def usual_lr(optimizer: str, width: int) -> float:
    """Return the peak rate for a model of some width, in two digits."""
    table, factor = pick(RATES, optimizer, "optimizer")
    for largest, rate in table:
        if width <= largest:
            return _in_two_digits(rate * factor)
    largest, rate = table[-1]
    return _in_two_digits(rate * factor * largest / width)


def _in_two_digits(rate: float) -> float:
    return float(f"{rate:.1e}")
