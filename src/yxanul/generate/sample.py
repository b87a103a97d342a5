"""Token sampling from logits, with the filters of `transformers` in the same order.

Letters: B samples, V vocabulary, S tokens so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.generate.config import SampleSettings

Filter = Callable[[Tensor, float], Tensor]


def sample(
    logits_BV: Tensor,
    ids_BS: Tensor,
    settings: SampleSettings,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Sample the next id of every row, B; each row has its own generator.

    `ids_BS` are the tokens so far, including the prompt; generators are on the logits' device.
    """
    logits_BV = penalise(logits_BV, ids_BS, settings.repetition_penalty)
    if not torch.isfinite(logits_BV).all():
        raise YxanulError("the model's logits are not finite", hint="its training has diverged")
    if settings.temperature == 0:
        return logits_BV.argmax(-1)
    logits_BV = logits_BV - logits_BV.amax(-1, keepdim=True)
    # A temperature below the smallest float would become 0, and 0 / 0 is NaN.
    temperature = max(settings.temperature, torch.finfo(logits_BV.dtype).tiny)
    probs_BV = torch.softmax(filtered(logits_BV / temperature, settings), -1)
    rows = zip(probs_BV, generators, strict=True)
    return torch.cat([torch.multinomial(row, 1, generator=generator) for row, generator in rows])


def filtered(logits_BV: Tensor, settings: SampleSettings) -> Tensor:
    """Return the logits with -inf for every token that a filter drops."""
    for name, keep in FILTERS.items():
        value = getattr(settings, name)
        if value is not None:
            logits_BV = logits_BV.masked_fill(~keep(logits_BV, value), -torch.inf)
    return logits_BV


def penalise(logits_BV: Tensor, ids_BS: Tensor, penalty: float) -> Tensor:
    """Divide the positive logits of tokens seen so far by the penalty, multiply negative ones."""
    if penalty == 1.0 or ids_BS.shape[1] == 0:
        return logits_BV
    seen_BS = logits_BV.gather(1, ids_BS)
    seen_BS = torch.where(seen_BS < 0, seen_BS * penalty, seen_BS / penalty)
    return logits_BV.scatter(1, ids_BS, seen_BS)


def _top_k(logits_BV: Tensor, k: float) -> Tensor:
    kth_B1 = logits_BV.topk(min(int(k), logits_BV.shape[-1])).values[:, -1:]
    return logits_BV >= kth_B1


def _top_p(logits_BV: Tensor, p: float) -> Tensor:
    rising_BV, order_BV = logits_BV.sort(-1)
    dropped_BV = rising_BV.softmax(-1).cumsum(-1) <= 1 - p
    dropped_BV[:, -1] = False
    return ~dropped_BV.scatter(1, order_BV, dropped_BV)


def _min_p(logits_BV: Tensor, p: float) -> Tensor:
    probs_BV = logits_BV.softmax(-1)
    return probs_BV >= p * probs_BV.amax(-1, keepdim=True)


FILTERS: dict[str, Filter] = {"top_k": _top_k, "top_p": _top_p, "min_p": _min_p}
"""Filters by the name of their setting; each returns a mask of the tokens to keep."""
