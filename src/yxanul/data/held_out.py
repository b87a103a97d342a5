"""Verify the text of held-out documents against their shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.data.encode_task import HELD_OUT_SEPARATOR
from yxanul.data.inspect import Encoded
from yxanul.data.manifest import held_out_path, read_record
from yxanul.data.shards import Shard
from yxanul.text.split import is_held_out
from yxanul.tokenizer.tokenizer import Tokenizer


def held_out_faults(
    source: Encoded, parts: Sequence[int], sound: Collection[int], tokenizer: Tokenizer | None
) -> Iterator[tuple[Path, str]]:
    """Yield (file, fault) for the held-out text of every slice and the file that joins them: the
    text must match the shards, and belong to the held-out split.

    Only `sound` slices are compared with their shards.
    """
    fraction = source.manifest.header.validation_fraction
    joined = _Joined(source.folder / "held-out.txt")
    compare = source.complete
    for number in parts:
        path = held_out_path(source.folder, number)
        if not path.is_file():
            compare = False
            yield path, "it is missing"
            continue
        content = path.read_bytes()
        if compare:
            joined.expect(content)
        if number not in sound:
            continue
        shard = source.shard("validation", number)
        texts = _cut(content, shard.document_bytes.tolist())
        if texts is None:
            yield path, "its documents do not match the shard"
        else:
            record = read_record(source.folder, number)
            own = record and record.held_out_below
            for fault in _text_faults(texts, shard, own or fraction, tokenizer):
                yield path, fault
    if compare and (fault := joined.fault()):
        yield source.folder / "held-out.txt", fault


def _text_faults(
    texts: list[bytes], shard: Shard, fraction: float, tokenizer: Tokenizer | None
) -> Iterator[str]:
    """Yield the faults of the texts of a slice's held-out documents."""
    try:
        decoded = [text.decode() for text in texts]
    except UnicodeDecodeError:
        yield "it is not UTF-8"
        return
    misplaced = sum(not is_held_out(text, fraction) for text in decoded)
    if misplaced:
        yield f"{misplaced:,} of its documents belong to the training split"
    wrong = (
        _count_id_mismatches(decoded, shard, tokenizer) if tokenizer is not None and texts else 0
    )
    if wrong:
        yield f"the ids of {wrong:,} of its documents do not match the shard"


def _count_id_mismatches(texts: list[str], shard: Shard, tokenizer: Tokenizer) -> int:
    """Return how many texts neither equal their decoded ids nor encode to these ids.

    Decoding is faster, but not every tokenizer round-trips text.
    """
    spans = list(zip(shard.starts[:-1].tolist(), shard.starts[1:].tolist(), strict=True))
    suspects = [
        index
        for index, (text, (start, end)) in enumerate(zip(texts, spans, strict=True))
        if not _decodes_to(text, shard.ids[start : end - 1].tolist(), tokenizer)
    ]
    ids, ends = tokenizer.encode_documents([texts[index] for index in suspects])
    encoded = np.split(ids, ends[:-1]) if suspects else []
    return sum(
        not np.array_equal(mine, shard.ids[slice(*spans[index])])
        for mine, index in zip(encoded, suspects, strict=True)
    )


def _decodes_to(text: str, ids: list[int], tokenizer: Tokenizer) -> bool:
    try:
        return tokenizer.decode_bytes(ids) == text.encode()
    except YxanulError:  # invalid ids
        return False


def _cut(content: bytes, sizes: list[int]) -> list[bytes] | None:
    """Cut the text of a slice into documents of known sizes; None if the sizes do not match."""
    texts: list[bytes] = []
    at = 0
    for number, size in enumerate(sizes):
        if number:
            if content[at : at + len(HELD_OUT_SEPARATOR)] != HELD_OUT_SEPARATOR:
                return None
            at += len(HELD_OUT_SEPARATOR)
        texts.append(content[at : at + size])
        at += size
    return texts if at == len(content) else None


class _Joined:
    """The file that joins the held-out text of all slices, compared slice by slice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at, self._same = 0, True

    def expect(self, part: bytes) -> None:
        """Compare the next bytes with the text of a slice."""
        if not part or not self._path.is_file():
            return
        expected = HELD_OUT_SEPARATOR + part if self._at else part
        with open(self._path, "rb") as file:
            file.seek(self._at)
            self._same = self._same and file.read(len(expected)) == expected
        self._at += len(expected)

    def fault(self) -> str | None:
        """Return the fault, if any, after the last slice."""
        if not self._path.is_file():
            return "it is missing"
        whole = self._same and self._at == self._path.stat().st_size
        return None if whole else "it is not the concatenation of the shards' held-out text"
