"""From ids that arrive one at a time to text that is never taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BROKEN = "\ufffd"
"""What a decoder puts for bytes that are no character, or not yet a whole one."""


class Decodes(Protocol):
    """The part of a tokenizer that text is made with."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; bytes that are no character become U+FFFD."""
        ...

    def is_open(self, token: int) -> bool:
        """Tell whether what follows an id may change its text."""
        ...


class TextStream:
    """Joins the text of a sample's ids: its pieces together are `decode` of all of them.

    A character cut in two by the tokenizer comes out when it is whole, and bytes that a vocabulary
    falls back on when their run is over: one that is wrong makes all of them U+FFFD. Only a short
    window of ids is decoded at a time; it begins with ids whose text is out already (at first the
    end of the prompt), as what an id says may depend on the one before it.
    """

    def __init__(self, tokenizer: Decodes, prompt: Sequence[int]):
        self._tokenizer = tokenizer
        start = max(len(prompt) - 4, 0)
        while start and tokenizer.is_open(prompt[start]):  # the whole of it, to be read the same
            start -= 1
        self._window = list(prompt[start:])
        self._num_out = len(self._window)

    def feed(self, token: int) -> str:
        """Take the next id; return the text that is now certain."""
        self._window.append(token)
        new = self._new_text()
        if not new or new.endswith(BROKEN) or self._tokenizer.is_open(token):
            return ""
        self._window = self._window[self._num_out :]
        self._num_out = len(self._window)
        return new

    def flush(self) -> str:
        """Return the text of ids still held back, as no more will come."""
        new = self._new_text()
        self._num_out = len(self._window)
        return new

    def _new_text(self) -> str:
        out = self._tokenizer.decode(self._window[: self._num_out])
        return self._tokenizer.decode(self._window)[len(out) :]
