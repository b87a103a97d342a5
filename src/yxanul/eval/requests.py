"""From questions to requests: contexts and continuations as ids. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from yxanul.eval.questions import Question

if TYPE_CHECKING:
    from yxanul.tokenizer.tokenizer import Tokenizer


class Request(NamedTuple):
    """A continuation to score after a context, as ids; neither is empty."""

    context: Sequence[int]
    continuation: Sequence[int]


class RollingRequest(Request):
    """A whole text to score; one that is longer than a window is scored in disjoint windows, each
    with at least the last token before it as context, as lm-evaluation-harness's rolling
    log-likelihood."""

    __slots__ = ()


Ask: TypeAlias = "Callable[[Tokenizer, Question, str, str], list[Request]]"
"""(tokenizer, question, text of the shots, delimiter) -> the request of each choice."""


def ask(tokenizer: Tokenizer, question: Question, shots: str, delimiter: str) -> list[Request]:
    """Ask as lm-evaluation-harness does: the whole continuation after the whole context."""
    continuations = [delimiter + text for text in question.continuations]
    return [
        request
        for context in question.contexts
        for request in encode_choices(tokenizer, shots + context, continuations)
    ]


def ask_rolling(
    tokenizer: Tokenizer, question: Question, shots: str, delimiter: str
) -> list[Request]:
    """Ask for a whole text, as lm-evaluation-harness does: the bos that a tokenizer itself puts
    before texts is scored too."""
    (text,) = question.continuations
    first = [tokenizer.bos_id] if tokenizer.puts_bos_first else []
    return [RollingRequest([tokenizer.bos_id], [*first, *tokenizer.encode(text)])]


def ask_core(tokenizer: Tokenizer, question: Question, shots: str, delimiter: str) -> list[Request]:
    """Ask as nanochat does for CORE: what differs between the choices, after a bos.

    With several continuations that is all after the longest common prefix of the tokens, with
    several contexts the longest common suffix, with one of each the continuation.
    """
    choices = [question.choice(number) for number in range(question.num_choices)]
    rows = tokenizer.encode_batch([shots + delimiter.join(choice) for choice in choices])
    if len(question.contexts) > 1:
        shared = min(common_prefix(rows[0][::-1], row[::-1]) for row in rows[1:])
        cuts = [len(row) - max(1, shared) for row in rows]
    elif len(rows) > 1:
        cuts = [min(common_prefix(rows[0], row[:-1]) for row in rows)] * len(rows)
    else:
        context = (shots + choices[0][0] + delimiter).strip()
        cuts = [min(len(tokenizer.encode(context)), len(rows[0]) - 1)]
    bos = tokenizer.bos_id
    return [Request([bos, *row[:cut]], row[cut:]) for row, cut in zip(rows, cuts, strict=True)]


def encode_choices(
    tokenizer: Tokenizer, context: str, continuations: Sequence[str]
) -> list[Request]:
    """Return the requests for several continuations of one context.

    Context and continuation are encoded together, without the spaces at the end of the context,
    which belong to the continuation; the cut is after the tokens that the context alone has too.
    A token across the boundary is scored, and so is what precedes it in the other continuations:
    log-likelihoods are of the same text for all of them.

    An empty context becomes the token that precedes documents (bos, else eos). It is also before
    every other context if the tokenizer itself puts it there.
    """
    stripped = context.rstrip()
    continuations = [context[len(stripped) :] + text for text in continuations]
    wholes = [stripped + text for text in continuations]
    alone, *rows = tokenizer.encode_batch([stripped, *wholes])
    cut = min(common_prefix(alone, row[:-1]) for row in rows)
    prefix = [tokenizer.bos_id] if tokenizer.puts_bos_first or not cut else []
    shared = [*prefix, *rows[0][:cut]]
    return [Request(shared, row[cut:]) for row in rows]


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many ids two sequences share at their beginning."""
    shorter = min(len(first), len(second))
    return next((n for n in range(shorter) if first[n] != second[n]), shorter)
