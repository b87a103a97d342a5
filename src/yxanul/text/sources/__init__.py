"""Sources of text: each kind is one class in the table SOURCES."""

from yxanul.text.sources.source import Source
from yxanul.text.sources.table import SOURCES, open_source

__all__ = ["SOURCES", "Source", "open_source"]
