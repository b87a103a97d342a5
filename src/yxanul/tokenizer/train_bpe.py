"""BPE training by the `tokenizers` library, interruptible by Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import tokenizers as library
from tokenizers import trainers

from yxanul.tokenizer.byte_alphabet import byte_symbols

_POLL_SECONDS = 0.05


def learn_bpe(raw: library.Tokenizer, texts: Iterable[str], num_tokens: int) -> None:
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
