"""Write on from a prompt, token by token, with a cache of keys and values.

Letters: B samples, S tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.base.seeds import derive_seed
from yxanul.generate.config import SampleSettings
from yxanul.generate.sample import sample
from yxanul.generate.stop import StopFinder
from yxanul.generate.text_stream import TextStream
from yxanul.model.cache import KvCache
from yxanul.model.language_model import LanguageModel

if TYPE_CHECKING:
    from yxanul.tokenizer.tokenizer import Tokenizer

Finish = Literal["length", "end_of_text", "stop"]
"""Why a sample ended: no room or tokens left, the model said so, or a stop string came."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of one sample's text; the last one of a sample says why it ended."""

    sample: int
    text: str
    finished: Finish | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole sample, without the prompt."""

    text: str
    finished: Finish


def complete(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, settings: SampleSettings
) -> list[Completion]:
    """Return whole samples that continue the prompt; errors as for `stream`."""
    texts = [""] * settings.num_samples
    ends: dict[int, Finish] = {}
    for piece in stream(model, tokenizer, prompt, settings):
        texts[piece.sample] += piece.text
        if piece.finished is not None:
            ends[piece.sample] = piece.finished
    return [Completion(text, ends[number]) for number, text in enumerate(texts)]


def stream(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, settings: SampleSettings
) -> Iterator[Piece]:
    """Continue the prompt, giving text as soon as it is certain.

    The prompt is read as the beginning of a document: behind an end of text, as every document
    stood in training. Samples end independently of each other, and what a
    sample says does not depend on how many there are. Prompt and new tokens together never
    exceed the model's max_seq_len. Raises YxanulError if the prompt alone is longer.
    """
    prompt_ids = [tokenizer.end_of_text_id, *tokenizer.encode(prompt)]
    num_new = min(settings.max_tokens, _room(model, prompt_ids))
    samples = [_Sample(n, tokenizer, prompt_ids, settings) for n in range(settings.num_samples)]
    device = model.embedding.tokens.device
    generators = [_generator(settings.seed, one.number, device) for one in samples]
    ids_BS = torch.tensor([prompt_ids] * len(samples), device=device)
    cache = logits_BV = None
    for _ in range(num_new):
        if cache is None or logits_BV is None:
            logits_BV, cache = _read_prompt(model, ids_BS, num_new)
        else:
            logits_BV = _read_token(model, ids_BS[:, -1:], cache)
        new_B = sample(logits_BV, ids_BS, settings, generators)
        ids_BS = torch.cat([ids_BS, new_B.unsqueeze(1)], 1)
        for one, token in zip(samples, new_B.tolist(), strict=True):
            yield from one.take(token)
        if all(one.finished for one in samples):
            return
    for one in samples:
        yield from one.end("length")


class _Sample:
    """The text of one sample as it grows."""

    def __init__(
        self, number: int, tokenizer: Tokenizer, prompt: list[int], settings: SampleSettings
    ):
        self.number = number
        self.finished: Finish | None = None
        self._end_of_text = tokenizer.end_of_text_id
        self._text = TextStream(tokenizer, prompt[1:])
        self._stop = StopFinder(settings.stop)

    def take(self, token: int) -> Iterator[Piece]:
        """Add a token unless the sample has ended."""
        if self.finished:
            return
        if token == self._end_of_text:
            yield from self.end("end_of_text")
            return
        text = self._stop.feed(self._text.feed(token))
        self.finished = "stop" if self._stop.found else None
        if text or self.finished:
            yield Piece(self.number, text, self.finished)

    def end(self, finish: Finish) -> Iterator[Piece]:
        """Give what was held back, and the end, unless the sample has ended."""
        if self.finished:
            return
        text = self._stop.feed(self._text.flush())
        self.finished = "stop" if self._stop.found else finish
        yield Piece(self.number, text + self._stop.flush(), self.finished)


def _room(model: LanguageModel, prompt: list[int]) -> int:
    """Return how many tokens fit after the prompt."""
    longest = model.settings.max_seq_len
    if len(prompt) > longest:
        raise YxanulError(
            "the prompt is longer than the model's max_seq_len",
            found=f"{len(prompt)} tokens with the end of text in front",
            wanted=f"at most {longest}",
        )
    return longest - len(prompt)


def _generator(seed: int, number: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(seed, "sample", number))


@torch.inference_mode()
def _read_prompt(model: LanguageModel, ids_BS: Tensor, num_new: int) -> tuple[Tensor, KvCache]:
    """Read the prompt once for all samples; return scores BV of the next token, and the cache."""
    weight, (batch, length) = model.embedding.tokens, ids_BS.shape
    cache = KvCache(model.settings, 1, length + num_new, weight.dtype, weight.device)
    hidden_1SD = model.hidden(ids_BS[:1], cache=cache)
    logits_1V = model.logits(hidden_1SD[:, -1])
    return logits_1V.expand(batch, -1), cache.repeat(batch)


@torch.inference_mode()
def _read_token(model: LanguageModel, ids_B1: Tensor, cache: KvCache) -> Tensor:
    """Read one more token of every sample; return scores BV of the next one."""
    return model.logits(model.hidden(ids_B1, cache=cache)[:, -1])
