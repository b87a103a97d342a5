"""Training text for a tokenizer: the training documents of every source."""

from __future__ import annotations

from collections.abc import Iterator

from yxanul.base.seeds import derive_seed
from yxanul.data.config import DataSettings
from yxanul.text.filters.table import open_filters
from yxanul.text.prepare import prepared, split_parts
from yxanul.text.sources import open_source


def training_texts(settings: DataSettings) -> Iterator[str]:
    """Yield training documents, balanced by bytes across sources until each is exhausted.

    Slices of a source come in hashed order, so that a prefix is a sample of the whole. Filters
    apply; deduplication and decontamination do not yet.
    """
    streams = {name: _texts(name, settings) for name in settings.sources}
    taken_bytes = dict.fromkeys(streams, 0)
    while streams:
        name = min(streams, key=taken_bytes.__getitem__)
        text = next(streams[name], None)
        if text is None:
            del streams[name]
            continue
        taken_bytes[name] += len(text.encode())
        yield text


def _texts(name: str, settings: DataSettings) -> Iterator[str]:
    chosen = settings.source(name)
    source, filters = open_source(name, chosen), open_filters(chosen)
    fraction = settings.validation_fraction
    for part in sorted(
        split_parts(source, fraction, filters), key=lambda part: derive_seed(0, part.name)
    ):
        for item in prepared(source, part, filters):
            if isinstance(item, tuple) and item[0] == "train":
                yield item[1].text
