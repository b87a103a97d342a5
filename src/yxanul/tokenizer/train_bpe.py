"""Training by the library in a way that Ctrl-C can stop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import tokenizers as library
from tokenizers import trainers

from yxanul.tokenizer.byte_alphabet import byte_symbols

_SECONDS_BETWEEN_LOOKS = 0.05


def learn_bpe(raw: library.Tokenizer, texts: Iterable[str], num_tokens: int) -> None:
    """Train the byte-level BPE in `raw`: all bytes, and the merges of pairs seen twice or more.

    The library would keep signals waiting until it is done: it works in a thread beside, which is
    given no more text when this one is stopped.
    """
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        min_frequency=2,
        initial_alphabet=list(byte_symbols()),
        show_progress=False,
    )
    stopped, problems = threading.Event(), list[BaseException]()

    def given() -> Iterator[str]:
        for text in texts:
            if stopped.is_set():
                return
            yield text

    def work() -> None:
        try:
            raw.train_from_iterator(given(), trainer=trainer)
        except BaseException as problem:  # it is raised again where the caller waits
            problems.append(problem)

    thread = threading.Thread(target=work, name="train tokenizer", daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_LOOKS)
    finally:
        stopped.set()
    if problems:
        raise problems[0]
