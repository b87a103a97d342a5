"""Text into shards: every part of every source, resumable at any moment with the same bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, folder_lock, sync_folder, write_json
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.data.manifest import (
    SPLITS,
    Manifest,
    PartRecord,
    held_out_path,
    make_manifest,
    read_manifest,
)
from yxanul.data.part import HELD_OUT_SEPARATOR, PartTask
from yxanul.data.plan import Job, make_header, plan_job, remove_all_leftovers
from yxanul.data.report import CorpusReport, report_on
from yxanul.data.workers import Results, encoders, wait_for_orphans
from yxanul.tokenizer.tokenizer import Tokenizer


def prepare_corpus(
    settings: DataSettings, tokenizer: Tokenizer, folder: Path, ui: Ui
) -> CorpusReport:
    """Encode all sources into `folder`, what is done already excepted, and report on them.

    The files are the same for any number of workers, and after any number of interruptions.
    Raises a YxanulError when a source leaves nothing to train on or nothing to validate on.
    """
    with folder_lock(folder):
        wait_for_orphans(folder)
        jobs = [
            plan_job(folder / name, make_header(name, source, settings, tokenizer), source, ui)
            for name, source in settings.sources.items()
        ]
        tasks = [task for job in jobs for task in job.to_do]
        workers = min(settings.workers or _num_cores(), len(tasks))
        try:
            with encoders(workers, tokenizer, folder, tasks) as results:
                manifests = {job.header.source: _work_off(job, results, ui) for job in jobs}
        finally:
            for job in jobs:
                remove_all_leftovers(job.folder)
    return report_on(manifests)


def _work_off(job: Job, results: Results, ui: Ui) -> Manifest:
    """Encode what is missing of a source, then write its manifest."""
    if job.to_do:
        _withdraw(job.folder)
        job.done.update(_encode_parts(job, results, ui))
    records = [job.done[number] for number in range(job.num_parts)]
    manifest = make_manifest(job.header, job.synthetic, records)
    _check_not_empty(manifest)
    if not _is_finished(job.folder, manifest):
        _withdraw(job.folder)
        _remove_surplus(job.folder, job.num_parts)
        _join_held_out(job.folder, job.num_parts)
        write_json(job.folder / "manifest.json", manifest.model_dump(mode="json"))
    return manifest


def _encode_parts(job: Job, results: Results, ui: Ui) -> dict[int, PartRecord]:
    """Wait for the parts to be done, show how far they are, pass on what the source notes."""
    records: dict[int, PartRecord] = {}
    said: set[str] = set()
    sizes = _sizes(job.to_do)
    unit = "parts" if sizes is None else "B"
    total = len(job.to_do) if sizes is None else sum(sizes.values())
    with ui.task(f"encode {job.header.source}", total, unit) as bar:
        for task, record, notes in results(job.to_do):
            records[task.number] = record
            bar.advance(1 if sizes is None else sizes[task.number])
            for note in notes:
                if note not in said:
                    said.add(note)
                    ui.say(f"{job.header.source}: {note}")
    return records


def _sizes(tasks: Sequence[PartTask]) -> dict[int, int] | None:
    """Return the parts' sizes in bytes, or None if any is unknown."""
    sizes = {task.number: task.part.size_bytes for task in tasks}
    known = {number: size for number, size in sizes.items() if size is not None}
    return known if len(known) == len(sizes) else None


def _check_not_empty(manifest: Manifest) -> None:
    """A source must have something to train on and something to validate on."""
    train, validation = (manifest.splits[split].documents for split in SPLITS)
    name = manifest.header.source
    if train + validation == 0:
        dropped = ", ".join(f"{count} {cause}" for cause, count in manifest.dropped.items())
        raise YxanulError(
            f"the source '{name}' has no usable document",
            found=f"left out: {dropped}" if dropped else None,
            hint=f"look at data.sources.{name}",
        )
    if validation == 0:
        raise YxanulError(
            f"the source '{name}' has no document held out for validation",
            found=f"{train} documents in all",
            hint="raise data.validation_fraction, or give more or smaller documents "
            "(smaller passages: passage_chars)",
        )
    if train == 0:
        raise YxanulError(
            f"the source '{name}' has no document left to train on",
            found=f"{validation} held out for validation",
            hint="lower data.validation_fraction, or give more or smaller documents "
            "(smaller passages: passage_chars)",
        )


def _is_finished(folder: Path, manifest: Manifest) -> bool:
    try:
        return read_manifest(folder) == manifest and (folder / "held-out.txt").is_file()
    except YxanulError:
        return False


def _withdraw(folder: Path) -> None:
    """Take the manifest away before anything under it changes."""
    if (folder / "manifest.json").exists():
        (folder / "manifest.json").unlink()
        sync_folder(folder)


def _remove_surplus(folder: Path, num_parts: int) -> None:
    """Delete the files of parts that are no more."""
    for name in ("parts", *SPLITS):
        for path in (folder / name).glob("[0-9]*.*"):
            if int(path.stem) >= num_parts:
                path.unlink()


def _join_held_out(folder: Path, num_parts: int) -> None:
    """Write the held-out text of all parts into one file, a separator between two documents."""
    with atomic_file(folder / "held-out.txt") as joined:
        for number in range(num_parts):
            path = held_out_path(folder, number)
            if path.stat().st_size == 0:
                continue
            if joined.tell():
                joined.write(HELD_OUT_SEPARATOR)
            with open(path, "rb") as part:
                shutil.copyfileobj(part, joined)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
