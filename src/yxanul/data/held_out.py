"""Verify held-out documents: their text against the shards, and their absence from training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.data.encode_task import HELD_OUT_SEPARATOR
from yxanul.data.inspect import Encoded
from yxanul.data.manifest import PartRecord, Split, held_out_path
from yxanul.data.shards import Shard
from yxanul.text.split import is_held_out
from yxanul.tokenizer.tokenizer import Tokenizer

HeldOut = Mapping[bytes, tuple[str, int]]
"""Source and document number of every held-out document, by the digest of its ids."""


def index_held_out(sources: Iterable[Encoded]) -> HeldOut:
    """Return the held-out documents of all sources."""
    index: dict[bytes, tuple[str, int]] = {}
    for source in sources:
        for part in range(source.num_parts):
            for number, digest in _digests(source, "validation", part):
                index.setdefault(digest, (source.name, number))
    return index


def find_copies(source: Encoded, part: int, held_out: HeldOut) -> Iterator[tuple[str, str]]:
    """Yield the source of each held-out document that is also in a training shard, and which."""
    for number, digest in _digests(source, "train", part) if held_out else ():
        if digest in held_out:
            name, other = held_out[digest]
            yield name, f"document {number} and held-out document {other} of '{name}'"


def excuse_for_copies(source: Encoded, tokenizer: Tokenizer | None) -> str | None:
    """Return why held-out documents in the training split may be no fault, if so."""
    if tokenizer is not None and not _is_lossless(tokenizer):
        return "; this tokenizer maps different texts to the same ids"
    if any(record.held_out_below == 1 for record in source.records().values()):
        return (
            ": passages are held out by position, so repeated text can be in both splits;"
            " data.deduplicate removes it"
        )
    return None


def _digests(source: Encoded, split: Split, part: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number and a digest of every document of a shard; nothing if it is damaged.

    Digests differ between sources with another tokenizer or validation fraction: only with the
    same ones do equal texts belong to the same split.
    """
    header = source.manifest.header
    try:
        shard = source.shard(split, part)
    except YxanulError:
        return
    starts = shard.starts if shard.num_tokens else np.zeros(1, np.int64)
    if starts[0] != 0 or starts[-1] != shard.num_tokens or np.any(np.diff(starts) <= 0):
        return
    kind = f"{header.tokenizer} {header.validation_fraction} "
    prefix = hashlib.blake2b(kind.encode(), digest_size=12)
    first = source.first_documents[split][part]
    for number, (start, end) in enumerate(pairwise(starts.tolist()), first):
        digest = prefix.copy()
        digest.update(shard.ids[start:end].data)
        yield number, digest.digest()


def _is_lossless(tokenizer: Tokenizer) -> bool:
    """Tell whether different texts always have different ids (no lossy normalization)."""
    plain = json.loads(tokenizer.to_json())
    before = json.dumps(plain.get("pre_tokenizer"))
    return (
        tokenizer.is_byte_level
        and plain.get("normalizer") is None
        and '"add_prefix_space": true' not in before
    )


def held_out_faults(
    source: Encoded,
    records: Mapping[int, PartRecord],
    damaged: Collection[int],
    tokenizer: Tokenizer | None,
) -> Iterator[tuple[Path, str]]:
    """Yield (file, fault) for the held-out text of every slice and the file that joins them: the
    text must match the shards, unless they are `damaged`, and belong to the held-out split."""
    numbers = range(source.num_parts) if source.complete else sorted(records)
    paths = {number: held_out_path(source.folder, number) for number in numbers}
    missing = [path for path in paths.values() if not path.is_file()]
    yield from ((path, "it is missing") for path in missing)
    for number, path in paths.items():
        if path in missing or number in damaged:
            continue
        own = records.get(number)
        fraction = own.held_out_below if own else source.manifest.header.validation_fraction
        shard = source.shard("validation", number)
        for fault in _text_faults(path.read_bytes(), shard, fraction, tokenizer):
            yield path, fault
    if source.complete and not missing:
        joined = source.folder / "held-out.txt"
        if not joined.is_file():
            yield joined, "it is missing"
        elif not _is_joined(joined, paths.values()):
            yield joined, "it is not the concatenation of the shards' held-out text"


def _text_faults(
    content: bytes, shard: Shard, fraction: float, tokenizer: Tokenizer | None
) -> Iterator[str]:
    """Yield the faults of the text of a slice's held-out documents."""
    texts = _cut(content, shard.document_bytes.tolist())
    if texts is None:
        yield "its documents do not match the shard"
        return
    try:
        decoded = [text.decode() for text in texts]
    except UnicodeDecodeError:
        yield "it is not UTF-8"
        return
    if misplaced := sum(not is_held_out(text, fraction) for text in decoded):
        yield f"{misplaced:,} of its documents belong to the training split"
    if tokenizer is not None and (wrong := _count_id_mismatches(decoded, shard, tokenizer)):
        yield f"the ids of {wrong:,} of its documents do not match the shard"


def _count_id_mismatches(texts: list[str], shard: Shard, tokenizer: Tokenizer) -> int:
    """Return how many texts do not encode to their ids."""
    encoded, ends = tokenizer.encode_documents(texts)
    ids = (shard.ids[start:end] for start, end in pairwise(shard.starts.tolist()))
    ours = np.split(encoded, ends[:-1]) if texts else ()
    return sum(not np.array_equal(*pair) for pair in zip(ours, ids, strict=True))


def _cut(content: bytes, sizes: list[int]) -> list[bytes] | None:
    """Cut the text of a slice into documents of known sizes; None if the sizes do not match."""
    texts: list[bytes] = []
    at = 0
    for size in sizes:
        texts.append(content[at : at + size])
        at += size + len(HELD_OUT_SEPARATOR)
    return texts if HELD_OUT_SEPARATOR.join(texts) == content else None


def _is_joined(joined: Path, paths: Iterable[Path]) -> bool:
    """Return whether a file is the concatenation of others, except empty ones, with separators."""
    with open(joined, "rb") as file:
        for content in filter(None, (path.read_bytes() for path in paths)):
            expected = HELD_OUT_SEPARATOR + content if file.tell() else content
            if file.read(len(expected)) != expected:
                return False
        return not file.read(1)
