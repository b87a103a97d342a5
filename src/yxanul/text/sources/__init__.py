"""Sources of text: each kind is one class in the table SOURCES."""

from collections.abc import Callable
from typing import Any

from yxanul.base.registry import lookup
from yxanul.text.config import CommonSettings
from yxanul.text.sources.builtin_source import BuiltinSource
from yxanul.text.sources.file_source import FileSource
from yxanul.text.sources.hub import HubSource
from yxanul.text.sources.source import Source

__all__ = ["SOURCES", "Source", "open_source"]

SOURCES: dict[str, Callable[[str, Any], Source]] = {
    "builtin": BuiltinSource,
    "text": FileSource,
    "jsonl": FileSource,
    "parquet": FileSource,
    "hub": HubSource,
}


def open_source(name: str, settings: CommonSettings) -> Source:
    """Open the source described by `settings` as `name`, without reading anything yet."""
    return lookup(SOURCES, getattr(settings, "kind", ""), "source of text")(name, settings)
