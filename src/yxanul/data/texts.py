"""Raw texts of files, folders, or the held-out split of a source, read without shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from yxanul.base.settings import checked
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.text.config import CommonSettings, TextSettings
from yxanul.text.prepare import prepared, split_parts
from yxanul.text.sources import open_source

_WHOLE_FILE_BYTES = 1 << 26


def data_of_paths(paths: Sequence[str]) -> DataSettings:
    """Return data settings with one source per path, each with the default held-out split."""
    sources = {f"text{n}": TextSettings(path=path) for n, path in enumerate(paths, 1)}
    return checked(DataSettings, sources=sources)


def texts_of_path(path: str, ui: Ui) -> Iterator[str]:
    """Yield the documents of a path; a plain-text file without separators is one document."""
    settings = TextSettings(path=path)
    say_notes([settings], ui)
    if _is_one_text(Path(path), settings.separator):
        settings = settings.model_copy(update={"split_by": "file"})
    yield from _documents(path, settings, held_out_fraction=0.0, split="train")


def held_out_texts(data: DataSettings, name: str) -> Iterator[str]:
    """Yield the held-out documents of a source."""
    fraction = data.validation_fraction
    yield from _documents(name, data.sources[name], fraction, split="validation")


def say_notes(sources: Iterable[CommonSettings], ui: Ui) -> None:
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


def _documents(
    name: str, settings: CommonSettings, held_out_fraction: float, split: str
) -> Iterator[str]:
    source = open_source(name, settings)
    fraction = held_out_fraction
    for part in split_parts(source, fraction) if fraction else source.slices():
        for item in prepared(source, part):
            if isinstance(item, tuple) and item[0] == split:
                yield item[1].text


def _is_one_text(path: Path, separator: str) -> bool:
    """Tell whether a file is small enough to read whole, and contains no separator."""
    if not path.is_file() or path.stat().st_size > _WHOLE_FILE_BYTES:
        return False
    return separator.encode() not in path.read_bytes()
