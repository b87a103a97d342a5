"""Deduplication: fingerprint every slice, then compare all documents in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yxanul.base.files import plain_digest, read_json, write_json
from yxanul.base.ui import Ui
from yxanul.data.executor import Executor, Worker
from yxanul.data.manifest import shard_name
from yxanul.data.plan import Job
from yxanul.data.storage import Storage
from yxanul.text.config import CommonSettings
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.copies import CopyCounts, write_copies
from yxanul.text.dedup.fingerprints import fingerprints_key, row_type, write_fingerprints
from yxanul.text.documents import Dropped, SourceSlice
from yxanul.text.prepare import prepared


@dataclass(frozen=True)
class ScanTask:
    """Task: fingerprint the documents of one slice."""

    name: str
    """Output file of the fingerprints."""
    source: str
    part: SourceSlice
    settings: CommonSettings
    ngrams: str | None
    deduplicate: DeduplicateSettings

    def outputs(self, folder: Path) -> list[Path]:
        """Return the file of the fingerprints."""
        return [folder / self.name]

    def run(self, worker: Worker, folder: Path) -> None:
        """Write the fingerprints of the documents that pass the filters."""
        source = worker.source(self.source, self.settings)
        filters = worker.filters(self.source, self.settings, self.ngrams)
        items = prepared(source, self.part, filters)
        texts = (item[1].text for item in items if not isinstance(item, Dropped))
        write_fingerprints(texts, self.deduplicate, folder / self.name)


def find_duplicates(
    settings: DeduplicateSettings | None,
    storage: Storage,
    jobs: Sequence[Job],
    ngrams: str | None,
    executor: Executor,
    ui: Ui,
    check: Callable[[], None],
) -> dict[str, list[str]]:
    """Return, by source, the name of a file per slice that lists its duplicate documents.

    The first of equal documents is kept: in recipe order, then in source order. `check` is called
    periodically; an exception it raises aborts the work.
    """
    if settings is None:
        return {}
    tasks = [task for job in jobs for task in _scans(job, ngrams, settings)]
    to_do = [task for task in tasks if not _is_scanned(task, storage)]
    with ui.task("find duplicates", len(to_do), "shards") as bar:
        for result in executor.results(to_do):
            check()
            bar.advance(0 if result is None else 1)
    if to_do:
        storage.look()
    copies = {
        job.header.source: [
            f"{job.header.source}/copies/{shard_name(number)}.npy"
            for number in range(len(job.parts))
        ]
        for job in jobs
    }
    files = [storage.folder / name for names in copies.values() for name in names]
    scanned = [storage.folder / task.name for task in tasks]
    counts = _decide(scanned, files, settings, storage, check)
    if counts is not None:
        ui.say(
            f"{counts.documents:,} documents: {counts.duplicates:,} duplicates,"
            f" {counts.near_duplicates:,} near-duplicates"
        )
    storage.pull(files)
    return copies


def _is_scanned(task: ScanTask, storage: Storage) -> bool:
    """Tell whether the fingerprints exist, in whole rows."""
    size = storage.size(storage.folder / task.name)
    return size is not None and size % row_type(task.deduplicate).itemsize == 0


def _scans(job: Job, ngrams: str | None, settings: DeduplicateSettings) -> list[ScanTask]:
    """Return one task per slice, and delete stale fingerprints: files are named by a digest of
    everything that determines their content."""
    common = [job.header.settings, job.header.comparison, ngrams, fingerprints_key(settings)]
    folder = f"{job.header.source}/fingerprints"
    tasks = []
    for number, part in enumerate(job.parts):
        words = [*common, part.name, part.fingerprint]
        if part.split.by_position:  # passages end where text is held out
            words.append(part.split.mark)
        digest = plain_digest(words)
        name = f"{folder}/{shard_name(number)}-{digest[:16]}.bin"
        tasks.append(ScanTask(name, job.header.source, part, job.settings, ngrams, settings))
    current = {job.storage.folder / task.name for task in tasks}
    existing = job.storage.files(f"{folder}/[0-9]*-*.bin")
    job.storage.remove(path for path in existing if path not in current)
    return tasks


def _decide(
    fingerprints: Sequence[Path],
    copies: Sequence[Path],
    settings: DeduplicateSettings,
    storage: Storage,
    check: Callable[[], None],
) -> CopyCounts | None:
    """Compare all documents; return None if up-to-date results exist."""
    digest_file = storage.folder / "copies.json"
    digest = plain_digest([settings.model_dump(mode="json"), [path.name for path in fingerprints]])
    complete = all(storage.size(path) is not None for path in copies)
    if complete and digest_file.is_file() and read_json(digest_file) == digest:
        return None
    storage.remove([digest_file])
    storage.pull(fingerprints)
    scratch = storage.folder / ".comparing"
    counts = write_copies(fingerprints, copies, settings, scratch, check)
    storage.push(copies)
    write_json(digest_file, digest)
    storage.push([digest_file])
    return counts
