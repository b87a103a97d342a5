"""Plan for reading a hub dataset at one commit: its files and their format."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import write_json
from yxanul.text.sources.files import with_compressions
from yxanul.text.sources.hub_query import HubQuery, is_offline, unknown_choice
from yxanul.text.sources.retry import Unreachable, retry
from yxanul.text.sources.source import digest_of

if TYPE_CHECKING:
    from datasets import DatasetBuilder

SUFFIXES = {
    "json": with_compressions((".jsonl", ".ndjson", ".json")),
    "parquet": (".parquet", ".geoparquet", ".gpq"),
    "text": with_compressions((".txt",)),
}
"""Suffixes of the formats that are read file by file."""

ROWS = "rows"
"""Format of everything else, which `datasets` converts to rows."""

_FILES_PER_REQUEST = 500
# Fields of a configuration that do not affect how its files are read.
_HARMLESS = ("name", "version", "data_dir", "data_files", "description", "features")


class DatasetFile(NamedTuple):
    """A file of the dataset; `digest` is that of its content."""

    path: str
    size_bytes: int
    digest: str


class DatasetPlan(NamedTuple):
    """Plan for a dataset at one commit, the same in every process."""

    commit: str
    format: str
    files: tuple[DatasetFile, ...] = ()
    note: str | None = None


@lru_cache(maxsize=32)
def find_plan(query: HubQuery, quick: bool = False) -> DatasetPlan:
    """Return the plan; a branch is resolved once per process and `quick`, so that
    a run stays at one commit.

    Plans are stored next to the downloaded files, so that a cached dataset needs no hub. `quick` is
    that of `retry`.
    """
    stored = None if query.is_local else _stored(query)
    if query.is_local or is_offline():
        return stored or DatasetPlan(query.revision or "main", ROWS)
    if stored and query.is_pinned:
        return stored
    try:
        commit = retry(lambda: commit_of(query), query, quick=quick)
    except Unreachable:
        if not stored:
            raise
        note = f"the hub could not be reached: '{query.name}' is read as of {stored.commit}"
        return stored._replace(note=note)
    if stored and stored.commit == commit:
        return stored
    pinned = query._replace(revision=commit)
    plan = _plan_at(pinned, commit)
    for key in (query, pinned):
        # A read-only cache only costs some more requests.
        with contextlib.suppress(OSError):
            write_json(_path(key), [plan.commit, plan.format, plan.files])
    return plan


def commit_of(query: HubQuery) -> str:
    """Return the current commit of the revision."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT

    timeout = HF_HUB_DOWNLOAD_TIMEOUT
    return str(HfApi().dataset_info(query.name, revision=query.revision, timeout=timeout).sha)


def _plan_at(query: HubQuery, commit: str) -> DatasetPlan:
    builder = retry(lambda: _builder(query), query, client_waits=True)
    splits = {str(split): files for split, files in (builder.config.data_files or {}).items()}
    if query.split not in splits:
        # `datasets` has its own syntax for slices and sums of splits.
        if re.fullmatch(r"\w+(\.\w+)*", query.split) and query.split != "all" and splits:
            what = f"'{query.name}' has no split '{query.split}'"
            raise unknown_choice(what, query.split, list(splits), "split")
        return DatasetPlan(commit, ROWS)
    # A file that matches two patterns is read once.
    root = f"hf://datasets/{query.name}@{commit}/"
    paths = list(dict.fromkeys(file.removeprefix(root) for file in splits[query.split]))
    if not _is_readable(builder, paths):
        return DatasetPlan(commit, ROWS)
    entries = retry(lambda: tuple(_entries(query, paths)), query)
    return DatasetPlan(commit, builder.name, entries)


def _builder(query: HubQuery) -> DatasetBuilder:
    """Let `datasets` find configuration, splits and data files."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    # With an empty cache it cannot fall back to rows of another commit.
    with TemporaryDirectory() as empty:
        address = f"hf://datasets/{query.name}"
        try:
            return datasets.load_dataset_builder(
                address, query.config, cache_dir=empty, **query.options
            )
        except FileNotFoundError as error:
            if query.data_files is None or isinstance(error, DatasetNotFoundError):
                raise
            raise _no_such_files(query) from error


def _no_such_files(query: HubQuery) -> YxanulError:
    from huggingface_hub import HfApi

    files = HfApi().list_repo_files(query.name, revision=query.revision, repo_type="dataset")
    patterns = [query.data_files] if isinstance(query.data_files, str) else query.data_files or ()
    hints = [hint for pattern in patterns if (hint := did_you_mean(pattern, files))]
    return YxanulError(
        f"no file of the dataset '{query.name}' matches data_files",
        got=", ".join(files[:8]) + (" ..." if len(files) > 8 else ""),
        expected=" or ".join(patterns),
        hint=hints[0] if hints else "check data_files",
    )


def _is_readable(builder: DatasetBuilder, paths: Sequence[str]) -> bool:
    """Return whether our readers can read the files as the dataset's configuration requires."""
    config, usual = builder.config, type(builder.config)()
    names = {field.name for field in dataclasses.fields(config)} - set(_HARMLESS)
    is_usual = all(getattr(config, name) == getattr(usual, name) for name in names)
    suffixes = SUFFIXES.get(builder.name, ())
    return is_usual and bool(suffixes) and all(path.lower().endswith(suffixes) for path in paths)


def _entries(query: HubQuery, paths: Sequence[str]) -> Iterator[DatasetFile]:
    """Request the sizes and digests of some files, in order."""
    from huggingface_hub import HfApi, RepoFile

    api = HfApi()
    for start in range(0, len(paths), _FILES_PER_REQUEST):
        batch = list(paths[start : start + _FILES_PER_REQUEST])
        infos = api.get_paths_info(query.name, batch, revision=query.revision, repo_type="dataset")
        files = {info.path: info for info in infos if isinstance(info, RepoFile)}
        for path in batch:
            lfs = files[path].lfs
            yield DatasetFile(path, files[path].size, lfs.sha256 if lfs else files[path].blob_id)


def _stored(query: HubQuery) -> DatasetPlan | None:
    """Return the stored plan of an earlier run; None if there is no readable one."""
    try:
        commit, kind, files = json.loads(_path(query).read_text())
        return DatasetPlan(commit, kind, tuple(DatasetFile(*file) for file in files))
    except (ImportError, OSError, ValueError, TypeError):
        return None


def _path(query: HubQuery) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=query.name, repo_type="dataset")
    return Path(constants.HF_HUB_CACHE) / folder / "plans" / f"{digest_of(repr(tuple(query)))}.json"
