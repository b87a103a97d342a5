"""Incremental detokenization: text from streamed ids, never retracted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yxanul.tokenizer.tokenizer import Tokenizer

BROKEN = "\ufffd"
"""Replacement character, decoded from invalid or incomplete bytes."""


class TextStream:
    """Decodes a sample's ids one by one; the chunks joined equal `decode` of all ids.

    A character split over tokens is emitted once complete, and byte-fallback tokens once their run
    ends: an invalid byte turns the whole run into U+FFFD. Only a short window of ids is decoded at
    a time; it starts with ids already emitted (at first the end of the prompt), since the text of
    an id may depend on the previous one.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]):
        self._tokenizer = tokenizer
        start = max(len(prompt) - 4, 0)
        while start and tokenizer.may_change(prompt[start]):  # do not start inside a run of bytes
            start -= 1
        self._window = list(prompt[start:])
        self._num_out = len(self._window)

    def feed(self, token: int) -> str:
        """Add the next id; return the text that has become final."""
        self._window.append(token)
        new = self._new_text()
        if not new or new.endswith(BROKEN) or self._tokenizer.may_change(token):
            return ""
        self._window = self._window[self._num_out :]
        self._num_out = len(self._window)
        return new

    def flush(self) -> str:
        """Return the text of the ids held back, at the end of the stream."""
        new = self._new_text()
        self._num_out = len(self._window)
        return new

    def _new_text(self) -> str:
        out = self._tokenizer.decode(self._window[: self._num_out])
        return self._tokenizer.decode(self._window)[len(out) :]
