"""The text of held-out documents, compared with what was encoded from it."""

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
    """Yield (file, fault): the text of every part, and all of it in one file, has to be that of
    the held-out documents, and has to be text that is held out.

    Only the `sound` parts can be compared with their shards.
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
            yield path, "its documents are not those of the shard"
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
    """Yield what is wrong with the texts of a part's held-out documents."""
    try:
        decoded = [text.decode() for text in texts]
    except UnicodeDecodeError:
        yield "it is not UTF-8"
        return
    strangers = sum(not is_held_out(text, fraction) for text in decoded)
    if strangers:
        yield f"{strangers:,} of its documents belong to training, not to validation"
    wrong = _strange_ids(decoded, shard, tokenizer) if tokenizer is not None and texts else 0
    if wrong:
        yield f"{wrong:,} of its documents do not have the ids of the shard"


def _strange_ids(texts: list[str], shard: Shard, tokenizer: Tokenizer) -> int:
    """Return how many texts are not what their ids decode to, nor encode to these ids.

    Decoding is the faster way, but not every tokenizer gives a text back as it was.
    """
    spans = list(zip(shard.starts[:-1].tolist(), shard.starts[1:].tolist(), strict=True))
    unlike = [
        place
        for place, (text, (start, end)) in enumerate(zip(texts, spans, strict=True))
        if not _decodes_to(text, shard.ids[start : end - 1].tolist(), tokenizer)
    ]
    ids, ends = tokenizer.encode_documents([texts[place] for place in unlike])
    encoded = np.split(ids, ends[:-1]) if unlike else []
    return sum(
        not np.array_equal(mine, shard.ids[slice(*spans[place])])
        for mine, place in zip(encoded, unlike, strict=True)
    )


def _decodes_to(text: str, ids: list[int], tokenizer: Tokenizer) -> bool:
    try:
        return tokenizer.decode_bytes(ids) == text.encode()
    except YxanulError:  # ids that are no tokens
        return False


def _cut(content: bytes, sizes: list[int]) -> list[bytes] | None:
    """Cut the text of a part into documents of known sizes; None where that does not come out."""
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
    """The file that holds the held-out text of all parts, read along with the parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at, self._same = 0, True

    def expect(self, part: bytes) -> None:
        """Compare what comes next with the text of a part."""
        if not part or not self._path.is_file():
            return
        wanted = HELD_OUT_SEPARATOR + part if self._at else part
        with open(self._path, "rb") as file:
            file.seek(self._at)
            self._same = self._same and file.read(len(wanted)) == wanted
        self._at += len(wanted)

    def fault(self) -> str | None:
        """Return what is wrong, after the last part."""
        if not self._path.is_file():
            return "it is missing"
        whole = self._same and self._at == self._path.stat().st_size
        return None if whole else "it is not the text of the parts one after the other"
