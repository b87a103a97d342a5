"""Kinds of text files, detected by suffix or by content."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from yxanul.text.sources.bytestream import ByteStream, is_no_text
from yxanul.text.sources.files import COMPRESSIONS, File

SUFFIXES: dict[str, tuple[str, ...]] = {
    "text": (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org"),
    "html": (".html", ".htm", ".xhtml"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
"""File suffixes by kind, also before .gz and the like."""

NOT_READ = (
    ".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".mobi", ".djvu", ".ps",
    ".ppt", ".pptx", ".odp", ".xls", ".xlsx", ".ods",
    ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".jar", ".whl",
)  # fmt: skip
"""Documents and archives that are not opened."""

_SNIFF_BYTES = 1 << 16


def suffix_of(name: str) -> str:
    """Return the suffix of a name, ignoring that of a compression; "" if there is none."""
    name = name.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return PurePosixPath(name).suffix


def kind_of(file: File) -> str | None:
    """Return the kind of a file, a key of SUFFIXES; None if it cannot be read as text.

    A file with an unknown suffix is text unless it begins like a binary file.
    """
    suffix = suffix_of(file.name)
    if file.size_bytes == 0 and suffix != ".parquet":
        return "text"
    if suffix in NOT_READ:
        return None
    kind = next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)
    if file.is_remote:  # not opened, which costs a request
        return kind or "text"
    if kind is not None and suffix != ".json":
        return kind
    stream = ByteStream(file)
    first = next(iter(stream), b"")[:_SNIFF_BYTES]
    if kind is not None:
        return "text" if not stream.problem and _is_one_object(first) else kind
    broken = first.decode(errors="replace").count("\ufffd")
    is_text = not stream.problem and not is_no_text(first) and 10 * broken <= len(first)
    return "text" if is_text else None


def _is_one_object(first: bytes) -> bool:
    """Return whether JSON that begins like this is one object over several lines."""
    text = first.lstrip()
    if not text.startswith(b"{"):
        return False
    try:
        json.loads(text.partition(b"\n")[0])
    except ValueError:
        return len(text) < _SNIFF_BYTES or b"\n" in text
    return False
