"""One tokenizer class for all kinds, on top of the `tokenizers` library."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.tokenizer.gigatoken import PACKAGE, FastEncoder, fast_encoder
from yxanul.tokenizer.pre_tokenizers import token_bytes
from yxanul.tokenizer.tokenizer_config import declared_chat_template, find_end_of_text, write_beside

_CHUNK_CHARS = 1 << 20
_FALLBACK_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_BETWEEN_WORDS = re.compile(r"\S(?= \S)")


class Tokenizer:
    """Text to ids and back. Encoding a text never yields `end_of_text_id`."""

    def __init__(
        self,
        raw: tokenizers.Tokenizer,
        end_of_text: str,
        bos: str | None = None,
        num_ids: int = 0,
    ) -> None:
        """Wrap a tokenizer of the library.

        `bos` precedes documents instead of the end of text. `num_ids` is the vocabulary
        size of a model, which may exceed the tokenizer's: the extra ids decode to empty text.
        """
        # Re-adding makes it special even if the file has it as an ordinary added token.
        raw.add_special_tokens([tokenizers.AddedToken(end_of_text, special=True, normalized=False)])
        raw.no_truncation()
        raw.no_padding()
        raw.encode_special_tokens = True
        self._raw = raw
        self.end_of_text = end_of_text
        self.end_of_text_id: int = raw.get_vocab()[end_of_text]
        self.bos_id: int = raw.get_vocab()[bos or end_of_text]
        """Id before a document; the end of text of the previous one by default."""
        self.vocab_size: int = max(*raw.get_vocab().values(), num_ids - 1) + 1
        self.chat_template: str | None = None
        """Jinja source of the tokenizer's chat template, if any."""

    @classmethod
    def load(cls, path: Path, end_of_text: str | None = None, num_ids: int = 0) -> Tokenizer:
        """Load a tokenizer.json (or the one in the folder `path`); `num_ids` as in `__init__`."""
        file = path / "tokenizer.json" if path.is_dir() else path
        raw = read_library_tokenizer(file)
        end = find_end_of_text(raw.get_vocab(), file.parent, end_of_text)
        tokenizer = cls(raw, end, num_ids=num_ids)
        tokenizer.chat_template = declared_chat_template(file.parent)
        return tokenizer

    @classmethod
    def from_json(cls, text: str, end_of_text: str | None = None) -> Tokenizer:
        """Parse the content of a tokenizer.json."""
        raw = _parse(text, "the text")
        return cls(raw, find_end_of_text(raw.get_vocab(), None, end_of_text))

    def to_json(self) -> str:
        """Return the content of a tokenizer.json that the `tokenizers` library loads."""
        return self._raw.to_str(pretty=True)

    def save(self, path: Path) -> None:
        """Write tokenizer.json, and an unusual end of text or chat template in a second file."""
        # tokenizer.json last: if it exists, the tokenizer is complete.
        write_beside(path, self._raw.get_vocab(), self.end_of_text, self.chat_template)
        write_text(path, self.to_json() + "\n")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON and the end-of-text id: the same for equal tokenizers."""
        content = [json.loads(self._raw.to_str()), self.end_of_text_id]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without an end of text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without an end of text, on all cores by default.

        A text of more than a million characters is encoded in chunks, as the library needs a
        hundred times a text's size in memory. Chunks start at the space before a word: only a
        SuperBPE has tokens that cross it, so its ids may differ there.
        """
        if not self._can_be_cut:
            return self._encode_chunks(texts)
        rows = iter(self._encode_chunks([t for t in texts if len(t) <= _CHUNK_CHARS]))
        return [
            next(rows)
            if len(text) <= _CHUNK_CHARS
            else [i for chunk in _in_chunks(text) for i in self._encode_chunks([chunk])[0]]
            for text in texts
        ]

    @cached_property
    def _can_be_cut(self) -> bool:
        return self.is_byte_level and self._raw.normalizer is None

    def _encode_chunks(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encodings = self._raw.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            raise YxanulError("text contains invalid Unicode (an unpaired surrogate)") from None
        rows = [encoding.ids for encoding in encodings]
        return [
            self._avoiding_end_of_text(text) if self.end_of_text_id in ids else ids
            for text, ids in zip(texts, rows, strict=True)
        ]

    def encode_documents(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the concatenated ids of all texts, each followed by end of text, and their ends.

        The ids are uint32 [N], the ends int64 [len(texts)]. The ids equal those of `encode_batch`,
        but come from a faster package if one is installed and gives the same (see `gigatoken.py`).
        """
        rows = self.encode_batch(texts) if self._fast is None else self._fast.encode(texts)
        arrays = [np.zeros(0, np.uint32)]
        end = np.array([self.end_of_text_id], np.uint32)
        for row in rows:
            arrays += [np.asarray(row, np.uint32), end]
        ends = np.cumsum([len(row) + 1 for row in rows], dtype=np.int64)
        return np.concatenate(arrays), ends

    def make_ready(self) -> str:
        """Prepare `encode_documents`; return the name of the package it encodes with.

        The first call compares two packages on the vocabulary, and the user's cache keeps the
        result: call this before worker processes encode.
        """
        return "tokenizers" if self._fast is None else PACKAGE

    @cached_property
    def _fast(self) -> FastEncoder | None:
        return fast_encoder(self._raw, self.end_of_text, self.encode_batch)

    def _avoiding_end_of_text(self, text: str) -> list[int]:
        """Encode a text in which the model itself would map the end of text's name to its id."""
        head, tail = self.end_of_text[:1], self.end_of_text[1:]
        chunks: list[str] = []
        for chunk in text.split(self.end_of_text):
            chunks += [tail, chunk, head] if chunks else [chunk, head]
        ids: list[int] = []
        for chunk in chunks[:-1]:
            ids += self._raw.encode(chunk, add_special_tokens=False).ids
        if self.end_of_text_id in ids:
            raise YxanulError(
                f"the tokenizer encodes ordinary text as '{self.end_of_text}'",
                hint="choose another tokenizer.end_of_text",
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; invalid UTF-8 becomes U+FFFD, the end of text its name."""
        if self.is_byte_level:
            return self.decode_bytes(ids).decode("utf-8", errors="replace")
        self._check(ids)
        return self._raw.decode(list(ids), skip_special_tokens=False)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the UTF-8 bytes of `ids`, which may start or end inside a character."""
        if not self.is_byte_level:
            return self.decode(ids).encode()
        self._check(ids)
        return b"".join([self._bytes_of_id[i] for i in ids])

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return each id's own text, for display."""
        self._check(ids)
        if self.is_byte_level:
            return [self._bytes_of_id[i].decode("utf-8", errors="replace") for i in ids]
        return [self._raw.id_to_token(i) or "" for i in ids]

    def may_change(self, token: int) -> bool:
        """Return whether the ids after this one may change its text.

        Adjacent byte-fallback tokens are decoded together; ids without a token do not separate
        them.
        """
        name = self._raw.id_to_token(token) if self._falls_back else ""
        return name is None or _FALLBACK_BYTE.fullmatch(name) is not None

    @cached_property
    def _falls_back(self) -> bool:
        return '"ByteFallback"' in json.dumps(json.loads(self._raw.to_str())["decoder"])

    @cached_property
    def num_ids_in_use(self) -> int:
        """One more than the highest id that a model must embed: ids of text, bos and end of text.

        Other special tokens never result from text.
        """
        added = self._raw.get_added_tokens_decoder()
        special = {i for i, token in added.items() if token.special}
        text = set(self._raw.get_vocab().values()) - special
        return max(text | {self.bos_id, self.end_of_text_id}) + 1

    @cached_property
    def puts_bos_first(self) -> bool:
        """Whether the tokenizer itself puts the bos token before a text, as that of Llama does."""
        encoding = self._raw.encode("a", add_special_tokens=True)
        return encoding.ids[:1] == [self.bos_id] and encoding.special_tokens_mask[0] == 1

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether tokens are byte strings: then decoding is exact for every text."""
        return isinstance(self._raw.decoder, tokenizers.decoders.ByteLevel)

    @cached_property
    def _bytes_of_id(self) -> list[bytes]:
        added = {i: token.content for i, token in self._raw.get_added_tokens_decoder().items()}
        table = [b""] * self.vocab_size
        for token, i in self._raw.get_vocab().items():
            table[i] = added[i].encode() if i in added else token_bytes(token)
        return table

    def _check(self, ids: Iterable[int]) -> None:
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise YxanulError(
                    f"unknown token id {i}", expected=f"ids from 0 to {self.vocab_size - 1}"
                )


def _in_chunks(text: str) -> Iterator[str]:
    """Split a long text before single spaces between two words, if there are any."""
    start = 0
    while match := _BETWEEN_WORDS.search(text, start + _CHUNK_CHARS):
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def read_library_tokenizer(file: Path) -> tokenizers.Tokenizer:
    """Load a tokenizer.json with the `tokenizers` library; raise a `YxanulError` if it is bad."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "train one: yxanul tokenizer train bpe PATH ... --out DIR"
        raise YxanulError(f"no tokenizer at {file}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise YxanulError(f"cannot read the tokenizer {file}", got=error) from None
    return _parse(text, str(file))


def _parse(text: str, where: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise YxanulError(
            f"{where} is not a tokenizer of the tokenizers library", got=error
        ) from None
