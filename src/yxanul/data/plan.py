"""Plan the encoding of one source: which slices are done, and which remain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
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
    held_out_path,
    read_manifest,
    read_record,
    shard_files,
    shard_sizes,
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
    """One source: its slices, their tasks, and the records of those that are done."""

    storage: Storage
    folder: Path
    header: Header
    settings: CommonSettings
    synthetic: bool
    parts: list[SourceSlice]
    notes: list[str]
    tasks: list[EncodeTask] = field(default_factory=list)
    """One task per slice."""
    done: dict[int, PartRecord] = field(default_factory=dict)

    @property
    def to_do(self) -> list[EncodeTask]:
        """Tasks without a record."""
        return [task for task in self.tasks if task.number not in self.done]

    def is_whole(self, number: int, record: PartRecord) -> bool:
        """Tell whether all files of a slice exist with the sizes in its record."""
        for split, entry in record.shards.items():
            files = shard_files(self.folder / split, number)
            for suffix, size in shard_sizes(entry, self.header.dtype).items():
                if self.storage.size(files[suffix]) != size:
                    return False
        return self.storage.size(held_out_path(self.folder, number)) is not None

    @property
    def outline(self) -> Outline:
        """The outline of the source."""
        return Outline(header=self.header, synthetic=self.synthetic, num_parts=len(self.parts))


def make_header(
    name: str, settings: DataSettings, tokenizer: Tokenizer, comparison: str = ""
) -> Header:
    """Return everything but the text itself that determines the tokens of source `name`."""
    source = settings.source(name)
    excluded = {"max_epochs", "on_bad_file"}
    kind = {}
    if isinstance(source, TextSettings):  # digests predate its columns and its current name
        kind = {"kind": "plain"}
        columns = set(ColumnSettings.model_fields) - set(CommonSettings.model_fields)
        fields = TextSettings.model_fields
        excluded |= {key for key in columns if getattr(source, key) == fields[key].default}
    plain = source.model_dump(mode="json", exclude=excluded) | kind
    return Header(
        source=name,
        settings=plain_digest([plain, filters_digest(source.filters)]),
        comparison=comparison,
        validation_fraction=settings.validation_fraction,
        tokenizer=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        dtype="uint16" if tokenizer.vocab_size <= 1 << 16 else "uint32",
    )


def open_job(storage: Storage, header: Header, settings: CommonSettings) -> Job:
    """Open a source and list its slices."""
    source = open_source(header.source, settings)
    folder = storage.folder / header.source
    parts = split_parts(source, header.validation_fraction, open_filters(settings))
    return Job(storage, folder, header, settings, source.synthetic, parts, list(source.notes))


def plan_job(job: Job, ngrams: str | None, copies: list[str] | None, ui: Ui) -> None:
    """Set the job's tasks, and mark those that its folder shows as done. `ngrams` and `copies`, by
    slice, are names of files."""
    remove_all_leftovers(job.folder)
    plain = Split(job.header.validation_fraction, by_position=False)
    for number, part in enumerate(job.parts):
        mine = copies[number] if copies else None
        # Duplicates depend on other slices and sources, so their digest belongs to the key.
        others = [sha256_of(job.storage.folder / mine) if mine else "", ngrams or ""]
        marks = [] if part.split == plain else [part.split.mark]
        words = "\n".join([job.header.key, *others, *marks])
        key = hashlib.sha256(words.encode()).hexdigest()
        job.tasks.append(EncodeTask(number, part, job.settings, job.header, ngrams, mine, key))
        record = read_record(job.folder, number)
        if (
            record is not None
            and (record.key, record.part, record.fingerprint) == (key, part.name, part.fingerprint)
            and job.is_whole(number, record)
        ):
            job.done[number] = record
    _warn_if_redone(job, ui)


def _warn_if_redone(job: Job, ui: Ui) -> None:
    """Warn if finished work is redone, and say why."""
    if not (job.folder / "manifest.json").exists():
        return
    name = job.header.source
    try:
        before = read_manifest(job.folder).header
    except YxanulError as error:
        ui.warn(f"{error.what}: re-encoding {name}")
        return
    changed = [key for key, value in job.header if getattr(before, key) != value]
    if changed:
        ui.warn(f"re-encoding {name}: {', '.join(changed)} changed")
    elif job.to_do:
        ui.warn(f"{name}: {len(job.to_do)} of {len(job.parts)} shards are new or changed")


def remove_all_leftovers(folder: Path) -> None:
    """Delete partial files that killed processes left in a source's folder."""
    for name in (".", "parts", *SPLITS):
        remove_leftovers(folder / name)
