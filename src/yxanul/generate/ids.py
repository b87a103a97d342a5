"""Batched decoding on token ids, with a KV cache; prompts may differ in length.

Letters: B rows, T tokens of a forward pass, S tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.base.seeds import derive_seed
from yxanul.generate.config import SampleSettings
from yxanul.generate.sample import sample
from yxanul.generate.steps import make_step
from yxanul.model.cache import KvCache
from yxanul.model.language_model import LanguageModel


def next_tokens(
    model: LanguageModel, prompts: Sequence[Sequence[int]], settings: SampleSettings
) -> Iterator[list[int]]:
    """Yield the next id of every row until `max_tokens` or the model's max_seq_len.

    Rows do not influence each other, except that all end when the longest reaches max_seq_len.
    Raises YxanulError if a prompt is empty or too long.
    """
    _check(prompts, model.settings.max_seq_len)
    room = model.settings.max_seq_len - max(map(len, prompts))
    num_new = min(settings.max_tokens, room)
    if not num_new:
        return
    device = model.embedding.tokens.device
    generators = [
        torch.Generator(device).manual_seed(derive_seed(settings.seed, "sample", row))
        for row in range(len(prompts))
    ]
    penalised_BS = _padded(prompts, device)
    logits_BV, cache = read_prompts(model, prompts, num_new)
    step = make_step(model, cache)
    for remaining in reversed(range(num_new)):
        new_B = sample(logits_BV, penalised_BS, settings, generators)
        yield new_B.tolist()
        if not remaining:
            return
        if settings.repetition_penalty != 1:
            penalised_BS = torch.cat([penalised_BS, new_B.unsqueeze(1)], 1)
        logits_BV = step(new_B.unsqueeze(1))


@torch.inference_mode()
def read_prompts(
    model: LanguageModel, prompts: Sequence[Sequence[int]], num_new: int
) -> tuple[Tensor, KvCache]:
    """Return the logits BV after each prompt, and a cache with room for `num_new` more tokens.

    If all prompts are the same, it is computed once.
    """
    same = all(prompt == prompts[0] for prompt in prompts)
    weight, rows = model.embedding.tokens, prompts[:1] if same else prompts
    lengths = [len(prompt) for prompt in rows]
    cache = KvCache(model.settings, len(rows), max(lengths) + num_new, weight.dtype, weight.device)
    if min(lengths) < max(lengths):
        cache.lengths_B = torch.tensor(lengths, device=weight.device)
    hidden_BTD = model.hidden(_padded(rows, weight.device), cache=cache)
    last_B = torch.tensor(lengths, device=weight.device) - 1
    row_B = torch.arange(len(rows), device=weight.device)
    logits_BV = model.logits(hidden_BTD[row_B, last_B])
    if same and len(prompts) > 1:
        return logits_BV.expand(len(prompts), -1), cache.repeat(len(prompts))
    return logits_BV, cache


def _padded(prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return the prompts as BT, right-padded with their first id."""
    longest = max(map(len, prompts))
    rows = [[*prompt, *[prompt[0]] * (longest - len(prompt))] for prompt in prompts]
    return torch.tensor(rows, device=device)


def _check(prompts: Sequence[Sequence[int]], longest: int) -> None:
    for prompt in prompts:
        if not prompt:
            raise YxanulError("a prompt has no tokens", expected="at least one")
        if len(prompt) > longest:
            raise YxanulError(
                "the prompt is longer than the model's max_seq_len",
                got=f"{len(prompt)} tokens, including the bos token",
                expected=f"at most {longest}",
            )
