"""Tasks whose files come from an address and go to it: they are done in scratch folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from yxanul.data.executor import Counts, Executor, WorkerContext, WorkerTask
from yxanul.data.lease import check_token
from yxanul.data.storage import RemoteStorage, Storage


def carrying(engine: Executor, place: Storage) -> Executor:
    """Return an engine whose tasks leave their files at a place."""
    return _Carrying(engine, place) if isinstance(place, RemoteStorage) else engine


class _Carrying:
    """Has tasks done in scratch folders whose files come from a place and go to it."""

    def __init__(self, engine: Executor, place: RemoteStorage) -> None:
        self._engine, self._place = engine, place

    @property
    def counts(self) -> Counts:
        return self._engine.counts

    def results(self, tasks: Sequence[WorkerTask]) -> Iterator[tuple[WorkerTask, Any] | None]:
        place = self._place
        carried = [StagedTask(t, place.address, place.folder, place.token) for t in tasks]
        for result in self._engine.results(carried):
            place.check()
            if result is None:
                yield None
                continue
            task, value = result
            assert isinstance(task, StagedTask)
            yield task.task, value


@dataclass(frozen=True)
class StagedTask:
    """A task on some machine, whose files lie at an address."""

    task: Any
    address: str
    folder: Path
    """What the task's paths begin with; each machine has its own."""
    token: str

    def run(self, context: WorkerContext) -> Any:
        """Do it in a scratch folder, and put its files to the address, the record last."""
        here = context.scratch
        place, task = RemoteStorage(self.address, here), self._moved(here)
        given = [getattr(task, name, None) for name in ("ngrams", "copies")]
        inputs = [path for path in given if path is not None]
        try:
            for _ in place.fetch(inputs):
                pass
            value = task.run(context)
            made = [p for p in here.rglob("*") if p.is_file() and p not in inputs]
            check_token(place, self.token)
            place.push(sorted(made, key=lambda path: (path.parent.name == "parts", path)))
        finally:
            for path in filter(Path.is_dir, here.iterdir()):  # what benchmarks ask stays
                shutil.rmtree(path, ignore_errors=True)
        return value

    def _moved(self, here: Path) -> Any:
        paths = {field.name: getattr(self.task, field.name) for field in fields(self.task)}
        moved = {
            name: here / path.relative_to(self.folder)
            for name, path in paths.items()
            if isinstance(path, Path)
        }
        return replace(self.task, **moved)
