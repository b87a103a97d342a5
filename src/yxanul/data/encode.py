"""Encode all sources into shards: resumable at any moment, with byte-identical results."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, write_json
from yxanul.base.machine import usable_cores
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.data.contamination import benchmark_ngrams, comparison_digest
from yxanul.data.duplicates import find_duplicates
from yxanul.data.encode_task import HELD_OUT_SEPARATOR, EncodeTask
from yxanul.data.executor import Executor, in_process_executor, process_executor
from yxanul.data.manifest import (
    SPLITS,
    DroppedSample,
    Manifest,
    PartRecord,
    held_out_path,
    make_manifest,
    read_manifest,
    record_path,
    write_outline,
)
from yxanul.data.order import first_order
from yxanul.data.plan import Job, make_header, open_job, plan_job, remove_all_leftovers
from yxanul.data.ray_executor import ray_executor
from yxanul.data.storage import Storage, open_storage
from yxanul.text.prepare import no_document, nothing_to_train_on
from yxanul.tokenizer import gigatoken
from yxanul.tokenizer.tokenizer import Tokenizer

_SAMPLES_PER_CAUSE = 50


@dataclass(frozen=True)
class PrepareHooks:
    """Hooks for work in another thread of this process while the corpus is prepared."""

    on_planned: Callable[[], None] = lambda: None
    """Called once the outlines are written and no stale record of a slice is left."""
    check: Callable[[], None] = lambda: None
    """Called periodically; an exception it raises aborts the work."""
    process_is_busy: bool = False
    """Whether this process is occupied, so that worker processes must do the encoding."""


def prepare_corpus(
    settings: DataSettings,
    tokenizer: Tokenizer,
    folder: Path,
    ui: Ui,
    *,
    seed: int = 0,
    hooks: PrepareHooks | None = None,
) -> dict[str, Manifest]:
    """Encode what is missing of all sources into `folder`; return their manifests. If
    settings.folder is an address, shards are written there instead.

    The files do not depend on the number of workers or of interruptions. Slices are encoded in
    the order in which a run with this `seed` reads them.
    Raises YxanulError if a source has no training documents or no held-out ones.
    """
    comparison = comparison_digest(settings)
    with open_storage(settings.folder, folder, ui) as storage:
        ngrams = benchmark_ngrams(storage, settings.benchmarks, ui)
        jobs = [
            open_job(
                storage,
                make_header(name, settings, tokenizer, comparison),
                settings.source(name),
            )
            for name in settings.sources
        ]
        hooks = hooks or PrepareHooks()
        try:
            with _executor(settings, tokenizer, storage, jobs, hooks) as executor:
                copies = find_duplicates(
                    settings.deduplicate, storage, jobs, ngrams, executor, ui, hooks.check
                )
                for job in jobs:
                    plan_job(job, ngrams, copies.get(job.header.source), ui)
                if any(job.to_do for job in jobs):
                    tokenizer.make_ready()
                    if line := gigatoken.warning():
                        ui.warn(line)
                return _encode(jobs, executor, seed, ui, hooks)
        finally:  # no worker writes any more
            for job in jobs:
                remove_all_leftovers(job.folder)


def _executor(
    settings: DataSettings,
    tokenizer: Tokenizer,
    storage: Storage,
    jobs: Sequence[Job],
    hooks: PrepareHooks,
) -> contextlib.AbstractContextManager[Executor]:
    """Open the executor; with at most one process per slice."""
    if settings.executor == "ray":
        return ray_executor(settings.workers, tokenizer, storage)
    workers = min(settings.workers or usable_cores(), sum(len(job.parts) for job in jobs))
    early = hooks.process_is_busy and any(len(job.parts) > 1 for job in jobs)
    if workers <= 1 and not early:
        return contextlib.nullcontext(in_process_executor(tokenizer, storage))
    return process_executor(workers, tokenizer, storage)


def _encode(
    jobs: Sequence[Job], executor: Executor, seed: int, ui: Ui, hooks: PrepareHooks
) -> dict[str, Manifest]:
    """Encode what is missing, and write each source's manifest after its last slice."""
    manifests = {job.header.source: _finish(job) for job in jobs if not job.to_do}
    by_name = {job.header.source: job for job in jobs if job.to_do}
    for job in by_name.values():
        records = [record_path(job.folder, task.number) for task in job.to_do]
        job.storage.remove([job.folder / "manifest.json", *records])
        job.storage.push([write_outline(job.folder, job.outline)])
        for note in job.notes:
            ui.say(f"{job.header.source}: {note}")
    hooks.on_planned()
    tasks = _in_turn(list(by_name.values()), seed)
    for task, record in _with_progress(tasks, executor, ui, hooks.check):
        job = by_name[task.header.source]
        job.done[task.number] = record
        if len(job.done) == len(job.parts):
            job.storage.look()
            manifests[job.header.source] = _finish(job)
    return {job.header.source: manifests[job.header.source] for job in jobs}


def _in_turn(jobs: Sequence[Job], seed: int) -> list[EncodeTask]:
    """Return the remaining tasks in the order in which a run reads them, sources round-robin."""
    orders = []
    for job in jobs:
        order = first_order(len(job.parts), seed, job.header.source).tolist()
        to_do = {task.number: task for task in job.to_do}
        orders.append([to_do[number] for number in order if number in to_do])
    rounds = chain.from_iterable(zip_longest(*orders))
    return [task for task in rounds if task is not None]


def _with_progress(
    tasks: Sequence[EncodeTask], executor: Executor, ui: Ui, check: Callable[[], None]
) -> Iterator[tuple[EncodeTask, PartRecord]]:
    """Yield each task with its record as it completes, and show progress."""
    if not tasks:
        return
    sizes = [task.part.size_bytes for task in tasks]
    unit, total = ("shards", len(tasks)) if None in sizes else ("B", sum(filter(None, sizes)))
    names = list(dict.fromkeys(task.header.source for task in tasks))
    started, documents, tokens, note = time.monotonic(), 0, 0, ""
    with ui.task(f"encode {', '.join(names)}", total, unit) as bar:
        for result in executor.results(tasks):
            check()
            if result is None:
                bar.advance(0, note)
                continue
            task, record = result
            assert isinstance(task, EncodeTask)
            documents += sum(shard.documents for shard in record.shards.values())
            tokens += sum(shard.tokens for shard in record.shards.values())
            seconds = max(time.monotonic() - started, 1e-9)
            note = f"{documents / seconds:,.0f} documents/s, {tokens / seconds:,.0f} tokens/s"
            bar.advance(1 if unit == "shards" else task.part.size_bytes or 0, note)
            yield task, record


def _finish(job: Job) -> Manifest:
    """Write the manifest of a source whose slices are all done."""
    records = [job.done[number] for number in range(len(job.parts))]
    manifest = make_manifest(job.outline, job.done)
    _check_not_empty(manifest)
    if not _is_finished(job, manifest):
        files = [job.folder / name for name in ("held-out.txt", "dropped.jsonl", "manifest.json")]
        job.storage.remove(files[-1:])
        _check_complete(job)
        _remove_surplus(job)
        _join_held_out(job)
        _write_dropped(files[1], records)
        outline = write_outline(job.folder, job.outline)
        write_json(files[2], manifest.model_dump(mode="json"))
        job.storage.push([outline, *files])
    return manifest


def _check_complete(job: Job) -> None:
    """Raise if shards that workers wrote are not in the storage of this process."""
    missing = [
        task.part.name for task in job.tasks if not job.is_whole(task.number, job.done[task.number])
    ]
    if missing:
        raise YxanulError(
            f"{len(missing)} shards of '{job.header.source}' are missing or incomplete",
            got=f"no complete shard of {missing[0]}",
            hint="data.folder must be shared by all machines; run the same command to resume",
        )


def _check_not_empty(manifest: Manifest) -> None:
    """Raise if a source has no training or no held-out documents."""
    train, validation = (manifest.splits[split].documents for split in SPLITS)
    name = manifest.header.source
    if train + validation == 0:
        raise no_document(name, manifest.dropped)
    if validation == 0:
        raise YxanulError(
            f"the source '{name}' has no document held out for validation",
            got=f"{train} documents in total",
            hint="raise data.validation_fraction, or provide more or smaller documents "
            "(for smaller passages, lower passage_chars)",
        )
    if train == 0:
        raise nothing_to_train_on(name, validation)


def _is_finished(job: Job, manifest: Manifest) -> bool:
    try:
        same = read_manifest(job.folder) == manifest
    except YxanulError:
        return False
    others = ("held-out.txt", "dropped.jsonl", "outline.json")
    return same and all(job.storage.size(job.folder / name) is not None for name in others)


def _remove_surplus(job: Job) -> None:
    """Delete the files of slices that no longer exist."""
    for name in ("parts", *SPLITS):
        paths = job.storage.files(f"{job.header.source}/{name}/[0-9]*.*")
        job.storage.remove(path for path in paths if int(path.stem) >= len(job.parts))


def _join_held_out(job: Job) -> None:
    """Concatenate the held-out text of all slices, separated as documents are."""
    paths = [held_out_path(job.folder, number) for number in range(len(job.parts))]
    job.storage.pull(paths)
    with atomic_file(job.folder / "held-out.txt") as joined:
        for path in paths:
            if path.stat().st_size == 0:
                continue
            if joined.tell():
                joined.write(HELD_OUT_SEPARATOR)
            with open(path, "rb") as part:
                shutil.copyfileobj(part, joined)


def _write_dropped(path: Path, records: Sequence[PartRecord]) -> None:
    """Write samples of the dropped documents for inspection: the first of each cause."""
    by_cause: dict[str, list[DroppedSample]] = {}
    for sample in (sample for record in records for sample in record.samples):
        of_cause = by_cause.setdefault(sample.cause, [])
        if len(of_cause) < _SAMPLES_PER_CAUSE:
            of_cause.append(sample)
    with atomic_file(path) as file:
        for sample in chain.from_iterable(by_cause[cause] for cause in sorted(by_cause)):
            line = json.dumps(sample.model_dump(), ensure_ascii=False)
            file.write(line.encode() + b"\n")
