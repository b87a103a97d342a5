"""The texts that the verbs of `yxanul tokenizer` read: files, folders, or a recipe's sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yxanul.base.ui import Ui
    from yxanul.data.config import DataSettings
    from yxanul.text.config import CommonSettings

_WHOLE_FILE_BYTES = 1 << 26


def text_settings(path: str) -> list[CommonSettings]:
    """Return the sources of text that a path stands for, by the names of its files.

    A folder is one source for each kind of file that is in it.
    """
    from yxanul.text.config import JsonlSettings, ParquetSettings, PlainSettings
    from yxanul.text.sources.files import COMPRESSIONS, find_files
    from yxanul.text.sources.jsonl import JsonlSource

    plain = PlainSettings(path=path)
    kinds: dict[type[CommonSettings], Sequence[str]] = {
        PlainSettings: plain.suffixes,
        JsonlSettings: JsonlSource.suffixes,
        ParquetSettings: (".parquet",),
    }
    every = [suffix for suffixes in kinds.values() for suffix in suffixes]
    found: dict[type[CommonSettings], None] = {}
    for file in find_files(path, every):
        name = file.name.lower()
        for ending in COMPRESSIONS:
            name = name.removesuffix(ending)
        fitting = [kind for kind, suffixes in kinds.items() if name.endswith(tuple(suffixes))]
        found[fitting[0] if fitting else PlainSettings] = None
    return [kind.model_validate({"path": path}) for kind in found]


def data_of_paths(paths: Sequence[str]) -> DataSettings:
    """Return settings of data with a source for each path, some of each held out."""
    from yxanul.base.settings import checked
    from yxanul.data.config import DataSettings

    sources = [settings for path in paths for settings in text_settings(path)]
    return checked(DataSettings, sources={f"text{n}": one for n, one in enumerate(sources, 1)})


def texts_of_path(path: str, ui: Ui) -> Iterator[str]:
    """Yield the documents of a path; a file of plain text without separators is one."""
    from yxanul.text.config import PlainSettings

    every = text_settings(path)
    say_notes(every, ui)
    for settings in every:
        if isinstance(settings, PlainSettings) and _is_one_text(Path(path), settings.separator):
            settings = settings.model_copy(update={"split_by": "file"})
        yield from _documents(path, settings, held_out_fraction=0.0, split="train")


def held_out_texts(data: DataSettings, name: str) -> Iterator[str]:
    """Yield the documents of a source that training leaves out."""
    fraction = data.validation_fraction
    yield from _documents(name, data.sources[name], fraction, split="validation")


def say_notes(sources: Iterable[CommonSettings], ui: Ui) -> None:
    """Tell what was guessed about sources, such as the column of the text."""
    from yxanul.text.sources import open_source

    for settings in sources:
        path = getattr(settings, "path", "text")
        for note in open_source(path, settings).notes:
            ui.say(f"{path}: {note}")


def take_bytes(texts: Iterator[str], max_bytes: int) -> list[str]:
    """Return texts from the beginning until they have `max_bytes` of UTF-8."""
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
    from yxanul.text.prepare import prepared
    from yxanul.text.sources import open_source

    source = open_source(name, settings)
    for part in source.parts():
        for item in prepared(source, part, held_out_fraction):
            if isinstance(item, tuple) and item[0] == split:
                yield item[1].text


def _is_one_text(path: Path, separator: str) -> bool:
    """Tell whether a file is short enough to be read whole, and has no line that separates."""
    if not path.is_file() or path.stat().st_size > _WHOLE_FILE_BYTES:
        return False
    return separator.encode() not in path.read_bytes()
