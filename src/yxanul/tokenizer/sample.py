"""The training text of a tokenizer: bounded in size, and split at its added tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from yxanul.base.errors import YxanulError
from yxanul.base.ui import ProgressTask


def take_sample(
    texts: Iterable[str], sample_bytes: int, added: Sequence[str], task: ProgressTask
) -> Iterator[str]:
    """Yield texts until `sample_bytes` of UTF-8 are reached; raise if there is none.

    Text between tokens of `added` is yielded separately, as it is in encoding.
    """
    taken_bytes = 0
    for text in texts:
        yield from cut_at(text, added)
        size_bytes = len(text.encode("utf-8", errors="replace"))
        taken_bytes += size_bytes
        task.advance(size_bytes)
        if taken_bytes >= sample_bytes:
            return
    if taken_bytes == 0:
        raise YxanulError("no text to train the tokenizer on", hint="check data.sources")


def cut_at(text: str, added: Sequence[str]) -> list[str]:
    """Split a text at the tokens of `added`; the longest match wins."""
    if not added:
        return [text]
    longest_first = sorted(added, key=len, reverse=True)
    return re.split("|".join(map(re.escape, longest_first)), text)


def in_batches(texts: Iterable[str], chars: int = 1 << 20) -> Iterator[list[str]]:
    """Yield texts in lists of at least `chars` characters in total, the last one excepted."""
    batch, size = list[str](), 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= chars:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
