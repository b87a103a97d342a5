"""Raw texts of files, folders and the splits of sources, read without shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from yxanul.base.seeds import derive_seed
from yxanul.base.settings import checked
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.text.config import CommonSettings, TextSettings
from yxanul.text.documents import SourceSlice
from yxanul.text.filters.table import Filter, open_filters
from yxanul.text.prepare import prepared, split_parts
from yxanul.text.sources import Source, open_source
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.files import local_file

_WHOLE_FILE_BYTES = 1 << 26


def data_of_paths(paths: Sequence[str]) -> DataSettings:
    """Return data settings with one source per path, each with the default held-out split."""
    sources = {f"text{n}": TextSettings(path=path) for n, path in enumerate(paths, 1)}
    return checked(DataSettings, sources=sources)


def texts_of_path(path: str, ui: Ui) -> Iterator[str]:
    """Yield the documents of a path; a plain-text file without separators is one document."""
    settings = TextSettings(path=path)
    print_notes([settings], ui)
    if is_one_text(Path(path), settings.separator):
        settings = settings.model_copy(update={"split_by": "file"})
    source = open_source(path, settings)
    yield from _documents(source, source.slices(), "train")


def held_out_texts(data: DataSettings, name: str) -> Iterator[str]:
    """Yield the held-out documents of a source."""
    source = open_source(name, data.sources[name])
    yield from _documents(source, split_parts(source, data.validation_fraction), "validation")


def print_notes(sources: Iterable[CommonSettings], ui: Ui) -> None:
    """Print what was inferred about sources, such as the text column."""
    for settings in sources:
        path = getattr(settings, "path", "text")
        for note in open_source(path, settings).notes:
            ui.say(f"{path}: {note}")


def take_bytes(texts: Iterator[str], max_bytes: int) -> list[str]:
    """Return the first texts, until they add up to `max_bytes` of UTF-8."""
    taken, size = list[str](), 0
    for text in texts:
        if size >= max_bytes:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def training_texts(settings: DataSettings) -> Iterator[str]:
    """Yield training documents, balanced by bytes across sources until each is exhausted.

    Slices of a source come in hashed order, so that a prefix is a sample of the whole. Filters
    apply; deduplication and decontamination do not yet.
    """
    streams = {name: _training_texts(name, settings) for name in settings.sources}
    taken_bytes = dict.fromkeys(streams, 0)
    while streams:
        name = min(streams, key=taken_bytes.__getitem__)
        text = next(streams[name], None)
        if text is None:
            del streams[name]
            continue
        taken_bytes[name] += len(text.encode())
        yield text


def _training_texts(name: str, data: DataSettings) -> Iterator[str]:
    settings = data.source(name)
    source, filters = open_source(name, settings), open_filters(settings)
    parts = split_parts(source, data.validation_fraction, filters)
    parts.sort(key=lambda part: derive_seed(0, part.name))
    yield from _documents(source, parts, "train", filters)


def _documents(
    source: Source, parts: Iterable[SourceSlice], split: str, filters: Sequence[Filter] = ()
) -> Iterator[str]:
    for part in parts:
        for item in prepared(source, part, filters):
            if isinstance(item, tuple) and item[0] == split:
                yield item[1].text


def is_one_text(path: Path, separator: str) -> bool:
    """Return whether a file is small enough to read whole, and contains no separator."""
    if not path.is_file() or path.stat().st_size > _WHOLE_FILE_BYTES:
        return False
    return separator.encode() not in b"".join(ByteStream(local_file(path)))
