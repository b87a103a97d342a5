"""Staging: run tasks in scratch folders, with inputs and outputs at a remote address."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from yxanul.data.executor import Counts, Executor, WorkerContext, WorkerTask
from yxanul.data.lease import check_token
from yxanul.data.storage import RemoteStorage, Storage


def staged_executor(executor: Executor, storage: Storage) -> Executor:
    """Return an executor whose tasks write to `storage`; stages files if it is remote."""
    return _StagingExecutor(executor, storage) if isinstance(storage, RemoteStorage) else executor


class _StagingExecutor:
    """Executor that stages the files of each task through a scratch folder."""

    def __init__(self, executor: Executor, storage: RemoteStorage) -> None:
        self._executor, self._storage = executor, storage

    @property
    def counts(self) -> Counts:
        return self._executor.counts

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        storage = self._storage
        staged = [StagedTask(t, storage.address, storage.folder, storage.token) for t in tasks]
        for result in self._executor.results(staged):
            storage.check()
            if result is None:
                yield None
                continue
            task, value = result
            assert isinstance(task, StagedTask)
            yield task.task, value


@dataclass(frozen=True)
class StagedTask:
    """Task on any machine whose files are at a remote address."""

    task: Any
    address: str
    folder: Path
    """Prefix of the task's paths, replaced by a scratch folder on the worker."""
    token: str

    def run(self, context: WorkerContext) -> Any:
        """Run the task in a scratch folder, and upload its files, the record last."""
        scratch = context.scratch
        storage, task = RemoteStorage(self.address, scratch), self._relocated(scratch)
        optional = [getattr(task, name, None) for name in ("ngrams", "copies")]
        inputs = [path for path in optional if path is not None]
        try:
            for _ in storage.fetch(inputs):
                pass
            value = task.run(context)
            outputs = [p for p in scratch.rglob("*") if p.is_file() and p not in inputs]
            check_token(storage, self.token)
            storage.push(sorted(outputs, key=lambda path: (path.parent.name == "parts", path)))
        finally:
            for path in filter(Path.is_dir, scratch.iterdir()):  # the n-gram file stays
                shutil.rmtree(path, ignore_errors=True)
        return value

    def _relocated(self, folder: Path) -> Any:
        paths = {field.name: getattr(self.task, field.name) for field in fields(self.task)}
        moved = {
            name: folder / path.relative_to(self.folder)
            for name, path in paths.items()
            if isinstance(path, Path)
        }
        return replace(self.task, **moved)
