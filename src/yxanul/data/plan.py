"""What is to be done for one source, after a look at what is done already."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import plain_digest, remove_leftovers, sha256_of
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.data.encode_task import EncodeTask
from yxanul.data.manifest import (
    SPLITS,
    Header,
    Outline,
    PartRecord,
    is_done,
    read_manifest,
    read_record,
)
from yxanul.data.storage import Storage
from yxanul.text.config import ColumnSettings, CommonSettings, TextSettings
from yxanul.text.documents import SourceSlice
from yxanul.text.filters.table import filters_digest, open_filters
from yxanul.text.prepare import split_parts
from yxanul.text.sources import open_source
from yxanul.text.split import Split
from yxanul.tokenizer.tokenizer import Tokenizer


@dataclass
class Job:
    """One source: its parts, and what is done of them."""

    place: Storage
    folder: Path
    header: Header
    settings: CommonSettings
    synthetic: bool
    parts: list[SourceSlice]
    notes: list[str]
    tasks: list[EncodeTask] = field(default_factory=list)
    """One for each part."""
    done: dict[int, PartRecord] = field(default_factory=dict)

    @property
    def to_do(self) -> list[EncodeTask]:
        """The tasks that are not done."""
        return [task for task in self.tasks if task.number not in self.done]

    def is_whole(self, task: EncodeTask, record: PartRecord) -> bool:
        """Tell whether all files of a part are there."""
        return is_done(task.folder, task.number, record, self.header.dtype, self.place.size)

    @property
    def outline(self) -> Outline:
        """What the source is going to become."""
        return Outline(header=self.header, synthetic=self.synthetic, num_parts=len(self.parts))


def make_header(
    name: str, settings: DataSettings, tokenizer: Tokenizer, comparison: str = ""
) -> Header:
    """Return everything but the text itself that decides what the source `name` becomes."""
    source = settings.source(name)
    unsaid = {"max_epochs", "on_bad_file"}
    kind = {}
    if isinstance(source, TextSettings):  # it had no columns once, and another name
        kind = {"kind": "plain"}
        columns = set(ColumnSettings.model_fields) - set(CommonSettings.model_fields)
        fields = TextSettings.model_fields
        unsaid |= {one for one in columns if getattr(source, one) == fields[one].default}
    said = source.model_dump(mode="json", exclude=unsaid) | kind
    words = [said, filters_digest(source.filters)]
    return Header(
        source=name,
        settings=plain_digest(words),
        comparison=comparison,
        validation_fraction=settings.validation_fraction,
        tokenizer=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        dtype="uint16" if tokenizer.vocab_size <= 1 << 16 else "uint32",
    )


def open_job(place: Storage, header: Header, settings: CommonSettings) -> Job:
    """Look at a source: which parts it has."""
    source = open_source(header.source, settings)
    folder = place.folder / header.source
    parts = split_parts(source, header.validation_fraction, open_filters(settings))
    return Job(place, folder, header, settings, source.synthetic, parts, list(source.notes))


def plan_job(job: Job, ngrams: Path | None, copies: list[Path] | None, ui: Ui) -> None:
    """Give a job its tasks, and compare them with what lies in its folder."""
    remove_all_leftovers(job.folder)
    keys: list[set[str]] = []
    for number, part in enumerate(job.parts):
        mine = copies[number] if copies else None
        task = EncodeTask(job.folder, number, part, job.settings, job.header, ngrams, mine)
        # Copies depend on other parts and sources: what they are is part of the key.
        others = [sha256_of(mine) if mine else "", ngrams.name if ngrams else ""]
        words = [job.header.key, *others]
        plain = Split(job.header.validation_fraction, by_position=False)
        split = [] if part.split == plain else [part.split.mark]
        job.tasks.append(replace(task, key=_digest([*words, *split])))
        # Before passages were held out in runs, each was by its hash: a run may be made of that.
        keys.append({_digest([*words, *split]), _digest(words if part.split.by_position else [])})
    for task, accepted in zip(job.tasks, keys, strict=True):
        record = _finished(job, task, accepted)
        if record is not None:
            job.done[task.number] = record
    _say_why(job, ui)


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _finished(job: Job, task: EncodeTask, keys: Collection[str]) -> PartRecord | None:
    """Return the record of a part if it is done, of this content and under one of these keys."""
    record = read_record(task.folder, task.number)
    if record is None or record.key not in keys or record.part != task.part.name:
        return None
    if record.fingerprint != task.part.fingerprint:
        return None
    return record if job.is_whole(task, record) else None


def _say_why(job: Job, ui: Ui) -> None:
    """Warn when finished work is done again."""
    if not (job.folder / "manifest.json").exists():
        return
    name = job.header.source
    try:
        before = read_manifest(job.folder).header
    except YxanulError as error:
        ui.warn(f"{error.what}: {name} is encoded again")
        return
    changed = [key for key, value in job.header if getattr(before, key) != value]
    if changed:
        ui.warn(f"{name} is encoded again: {', '.join(changed)} changed")
    elif job.to_do:
        ui.warn(
            f"{name}: {len(job.to_do)} of {len(job.parts)} parts are new or have changed and "
            "are encoded again"
        )


def remove_all_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in a source's folder."""
    for name in (".", "parts", *SPLITS):
        remove_leftovers(folder / name)
