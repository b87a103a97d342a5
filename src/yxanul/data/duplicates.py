"""Copies of documents: every part is scanned, then all of them are compared at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yxanul.base.files import plain_digest, read_json, write_json
from yxanul.base.ui import Ui
from yxanul.data.executor import Executor, WorkerContext
from yxanul.data.manifest import shard_name
from yxanul.data.plan import Job
from yxanul.data.storage import Storage
from yxanul.text.config import CommonSettings
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.copies import CopyCounts, write_copies
from yxanul.text.dedup.fingerprints import are_written, fingerprints_key, write_fingerprints
from yxanul.text.documents import Dropped, SourceSlice
from yxanul.text.prepare import prepared


@dataclass(frozen=True)
class ScanTask:
    """One part whose documents are to be compared with others."""

    path: Path
    """Where their fingerprints go."""
    source: str
    part: SourceSlice
    settings: CommonSettings
    ngrams: Path | None
    deduplicate: DeduplicateSettings

    def run(self, context: WorkerContext) -> None:
        """Write the fingerprints of the documents that pass the filters."""
        source = context.source(self.source, self.settings)
        filters = context.filters(self.source, self.settings, self.ngrams)
        items = prepared(source, self.part, filters)
        texts = (item[1].text for item in items if not isinstance(item, Dropped))
        write_fingerprints(texts, self.deduplicate, self.path)


def copies_of_parts(
    settings: DeduplicateSettings | None,
    place: Storage,
    jobs: Sequence[Job],
    ngrams: Path | None,
    engine: Executor,
    ui: Ui,
    check: Callable[[], None],
) -> dict[str, list[Path]]:
    """Return by source, for each part, the file that says which of its documents are copies.

    Earlier is what comes first in the recipe, then in the source; the first of equals stays.
    `check` is called now and then; what it raises ends the work.
    """
    if settings is None:
        return {}
    tasks = [task for job in jobs for task in _scans(job, ngrams, settings)]
    to_do = [task for task in tasks if not _is_scanned(task, place)]
    with ui.task("look for copies", len(to_do), "parts") as bar:
        for result in engine.results(to_do):
            check()
            bar.advance(0 if result is None else 1)
    if to_do:
        place.look()
    copies = {
        job.header.source: [
            job.folder / "copies" / f"{shard_name(number)}.npy" for number in range(len(job.parts))
        ]
        for job in jobs
    }
    files = [path for paths in copies.values() for path in paths]
    counts = _decide([task.path for task in tasks], files, settings, place, check)
    if counts is not None:
        ui.say(_told(counts))
    place.pull(files)
    return copies


def _is_scanned(task: ScanTask, place: Storage) -> bool:
    """What lies at an address came there whole, under the name that its key gives it."""
    if not task.path.is_file() and place.size(task.path):
        return True
    return are_written(task.path, task.deduplicate)


def _scans(job: Job, ngrams: Path | None, settings: DeduplicateSettings) -> list[ScanTask]:
    """Return a task for each part. Their files are named after all that decides about them."""
    common = [job.header.settings, job.header.comparison, ngrams and ngrams.name]
    common.append(fingerprints_key(settings))
    tasks = []
    for number, part in enumerate(job.parts):
        mark = plain_digest([*common, part.name, part.fingerprint])
        path = job.folder / "fingerprints" / f"{shard_name(number)}-{mark[:16]}.bin"
        tasks.append(ScanTask(path, job.header.source, part, job.settings, ngrams, settings))
    wanted = {task.path for task in tasks}
    there = job.place.files(job.folder / "fingerprints", "[0-9]*-*.bin")
    job.place.remove(path for path in there if path not in wanted)
    return tasks


def _decide(
    fingerprints: Sequence[Path],
    copies: Sequence[Path],
    settings: DeduplicateSettings,
    place: Storage,
    check: Callable[[], None],
) -> CopyCounts | None:
    """Compare all documents; None if that is done already."""
    mark_file = place.folder / "copies.json"
    mark = plain_digest([settings.model_dump(mode="json"), [path.name for path in fingerprints]])
    there = all(place.size(path) is not None for path in copies)
    if there and mark_file.is_file() and read_json(mark_file) == mark:
        return None
    place.remove([mark_file])
    place.pull(fingerprints)
    scratch = place.folder / ".comparing"
    counts = write_copies(fingerprints, copies, settings, scratch, lambda done, total: check())
    place.push(copies)
    write_json(mark_file, mark)
    place.push([mark_file])
    return counts


def _told(counts: CopyCounts) -> str:
    return (
        f"of {counts.documents:,} documents {counts.duplicates:,} are copies of earlier ones"
        f" and {counts.near_duplicates:,} nearly are"
    )
