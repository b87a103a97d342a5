"""Text generation from a prompt, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from yxanul.generate.config import SampleSettings
from yxanul.generate.ids import next_tokens
from yxanul.generate.stop import StopFinder
from yxanul.generate.text_stream import TextStream
from yxanul.model.language_model import LanguageModel

if TYPE_CHECKING:
    from yxanul.tokenizer.tokenizer import Tokenizer

Finish = Literal["length", "end_of_text", "stop"]
"""Why a sample ended: token limit reached, end-of-text token, or stop string."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of one sample's text; the last one of a sample has the finish reason."""

    sample: int
    text: str
    finished: Finish | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A complete sample, without the prompt."""

    text: str
    finished: Finish


def complete(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, settings: SampleSettings
) -> list[Completion]:
    """Return complete samples that continue the prompt; raises as `stream` does."""
    prompt_ids = [tokenizer.bos_id, *tokenizer.encode(prompt)]
    return complete_ids(model, tokenizer, [prompt_ids] * settings.num_samples, settings)


def complete_ids(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    settings: SampleSettings,
) -> list[Completion]:
    """Return one sample for each prompt, as one batch; raises as `stream` does."""
    texts = [""] * len(prompts)
    ends: dict[int, Finish] = {}
    for piece in _pieces(model, tokenizer, prompts, settings):
        texts[piece.sample] += piece.text
        if piece.finished is not None:
            ends[piece.sample] = piece.finished
    return [Completion(text, ends[number]) for number, text in enumerate(texts)]


def stream(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, settings: SampleSettings
) -> Iterator[Piece]:
    """Continue the prompt, yielding text as soon as it is final.

    The prompt starts a document: it follows an end-of-text token (or bos, in models that have
    one), like every document in training. Samples end independently, and a sample's text does not
    depend on the number of samples. Prompt and new tokens together never exceed the model's
    max_seq_len. Raises YxanulError if the prompt alone does.
    """
    prompt_ids = [tokenizer.bos_id, *tokenizer.encode(prompt)]
    return _pieces(model, tokenizer, [prompt_ids] * settings.num_samples, settings)


def _pieces(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    settings: SampleSettings,
) -> Iterator[Piece]:
    samples = [_Sample(n, tokenizer, prompt, settings) for n, prompt in enumerate(prompts)]
    for tokens in next_tokens(model, prompts, settings):
        for sample, token in zip(samples, tokens, strict=True):
            yield from sample.take(token)
        if all(sample.finished for sample in samples):
            return
    for sample in samples:
        yield from sample.end("length")


class _Sample:
    """The text of one sample as it grows."""

    def __init__(
        self, number: int, tokenizer: Tokenizer, prompt: Sequence[int], settings: SampleSettings
    ):
        self.number = number
        self.finished: Finish | None = None
        self._end_of_text = tokenizer.end_of_text_id
        self._text = TextStream(tokenizer, prompt[1:])
        self._stop = StopFinder(settings.stop)

    def take(self, token: int) -> Iterator[Piece]:
        """Add a token, unless the sample has ended."""
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
        """Yield the text held back and the finish reason, unless the sample has ended."""
        if self.finished:
            return
        text = self._stop.feed(self._text.flush())
        self.finished = "stop" if self._stop.found else finish
        yield Piece(self.number, text + self._stop.flush(), self.finished)
