"""What kind of text a file holds: its name tells, or how it begins."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TypeAlias

from yxanul.text.sources.bytestream import ByteStream, is_no_text
from yxanul.text.sources.files import COMPRESSIONS, File

Kind: TypeAlias = str
"""A key of SUFFIXES."""

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "text": (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org"),
    "html": (".html", ".htm", ".xhtml"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
"""How the names of files end, also before .gz and the like."""

NOT_READ = (
    ".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".mobi", ".djvu", ".ps",
    ".ppt", ".pptx", ".odp", ".xls", ".xlsx", ".ods",
    ".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".jar", ".whl",
)  # fmt: skip
"""Documents and archives that are not opened."""

_LOOK_BYTES = 1 << 16


def suffix_of(name: str) -> str:
    """Return how a name ends, without what tells of a compression; "" if it does not say."""
    name = name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return PurePosixPath(name).suffix


def kind_of(file: File) -> Kind | None:
    """Return what a file holds; None if it is nothing that can be read as text.

    One of a name that says nothing is text unless it begins like something else.
    """
    suffix = suffix_of(file.name)
    if file.size_bytes == 0 and suffix != ".parquet":
        return "text"
    if suffix in NOT_READ:
        return None
    found = next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)
    if suffix == ".json" and not file.is_remote:
        return "jsonl" if _has_rows(_beginning_of(file)) else "text"
    if found is not None or file.is_remote:
        return found or "text"
    return "text" if _is_text(_beginning_of(file)) else None


def _beginning_of(file: File) -> bytes | None:
    """Return some bytes from the beginning of a file; None if it is damaged or no text."""
    stream = ByteStream(file)
    first = next(iter(stream), b"")
    return None if stream.problem else first[:_LOOK_BYTES]


def _is_text(first: bytes | None) -> bool:
    if first is None or is_no_text(first):
        return False
    broken = first.decode(errors="replace").count("\ufffd")
    return 10 * broken <= len(first)


def _has_rows(first: bytes | None) -> bool:
    """Tell whether a .json file holds an array, or an object on its first line."""
    text = (first or b"").lstrip()
    if not text.startswith(b"{"):
        return True
    try:
        json.loads(text.partition(b"\n")[0])
    except ValueError:
        return len(text) >= _LOOK_BYTES and b"\n" not in text
    return True
