"""BPE training by the `tokenizers` library, interruptible by Ctrl-C, and its bounded text."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence

import tokenizers
from tokenizers import trainers

from yxanul.base.errors import YxanulError
from yxanul.base.ui import ProgressTask
from yxanul.tokenizer.pre_tokenizers import byte_symbols

_POLL_SECONDS = 0.05


def learn_bpe(raw: tokenizers.Tokenizer, texts: Iterable[str], num_tokens: int) -> None:
    """Train the byte-level BPE in `raw`: all bytes, and merges of pairs seen at least twice.

    The library would delay signals until it is done, so it runs in a thread, which gets no more
    text once the calling one is stopped.
    """
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        min_frequency=2,
        initial_alphabet=list(byte_symbols()),
        show_progress=False,
    )
    stopped, problems = threading.Event(), list[BaseException]()

    def until_stopped() -> Iterator[str]:
        for text in texts:
            if stopped.is_set():
                return
            yield text

    def work() -> None:
        try:
            raw.train_from_iterator(until_stopped(), trainer=trainer)
        except BaseException as problem:  # re-raised in the calling thread
            problems.append(problem)

    thread = threading.Thread(target=work, name="train tokenizer", daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
    finally:
        stopped.set()
    if problems:
        raise problems[0]


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
