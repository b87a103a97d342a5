"""What is to be done for one source, after a look at what is done already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import remove_leftovers
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.data.manifest import SPLITS, Header, PartRecord, read_manifest, read_record
from yxanul.data.part import PartTask
from yxanul.text.config import CommonSettings
from yxanul.text.sources import open_source
from yxanul.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Job:
    """One source: what is to be done, and what is done already."""

    folder: Path
    header: Header
    synthetic: bool
    num_parts: int
    to_do: list[PartTask]
    done: dict[int, PartRecord]


def make_header(
    name: str, source: CommonSettings, settings: DataSettings, tokenizer: Tokenizer
) -> Header:
    """Return everything but the text itself that decides what `source` becomes."""
    return Header(
        source=name,
        settings=hashlib.sha256(source.model_dump_json().encode()).hexdigest(),
        validation_fraction=settings.validation_fraction,
        tokenizer=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        dtype="uint16" if tokenizer.vocab_size <= 1 << 16 else "uint32",
    )


def plan_job(folder: Path, header: Header, settings: CommonSettings, ui: Ui) -> Job:
    """Compare a source with what lies in its folder."""
    source = open_source(header.source, settings)
    parts = source.parts()
    remove_all_leftovers(folder)
    tasks = [PartTask(folder, number, part, settings, header) for number, part in enumerate(parts)]
    records = {task.number: read_record(folder, task.number, header, task.part) for task in tasks}
    done = {number: record for number, record in records.items() if record is not None}
    to_do = [task for task in tasks if task.number not in done]
    _say_why(folder, header, len(to_do), len(tasks), ui)
    return Job(folder, header, source.synthetic, len(parts), to_do, done)


def _say_why(folder: Path, header: Header, num_to_do: int, num_parts: int, ui: Ui) -> None:
    """Warn when finished work is done again."""
    if not (folder / "manifest.json").exists():
        return
    try:
        before = read_manifest(folder).header
    except YxanulError as error:
        ui.warn(f"{error.what}: {header.source} is encoded again")
        return
    changed = [key for key, value in header if getattr(before, key) != value]
    if changed:
        ui.warn(f"{header.source} is encoded again: {', '.join(changed)} changed")
    elif num_to_do:
        ui.warn(
            f"{header.source}: {num_to_do} of {num_parts} parts are new or have changed and "
            "are encoded again"
        )


def remove_all_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in a source's folder."""
    for name in (".", "parts", *SPLITS):
        remove_leftovers(folder / name)
