"""Decoding one id at a time, for text that appears while it is generated."""

from __future__ import annotations

import codecs

from yxanul.tokenizer.tokenizer import Tokenizer

_BROKEN = "\ufffd"


class StreamDecoder:
    """Gives text as soon as its characters are whole; all pieces joined equal `decode`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._before: list[int] = []
        self._waiting: list[int] = []

    def push(self, token_id: int) -> str:
        """Take one id and return the text that it completes, often empty within a character."""
        if self._tokenizer.is_byte_level:
            return self._utf8.decode(self._tokenizer.decode_bytes([token_id]))
        self._waiting.append(token_id)
        piece = self._piece()
        if piece.endswith(_BROKEN):
            return ""
        self._before, self._waiting = self._waiting, []
        return piece

    def flush(self) -> str:
        """End the text: return what is left, with U+FFFD for half a character."""
        if self._tokenizer.is_byte_level:
            return self._utf8.decode(b"", final=True)
        return self._piece()

    def _piece(self) -> str:
        """Return what the waiting ids add after the ones before: spaces depend on these."""
        before = self._tokenizer.decode(self._before)
        return self._tokenizer.decode(self._before + self._waiting)[len(before) :]
