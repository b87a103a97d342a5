"""What every kind of source must do: parametrised over the table."""

import json
import pickle
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processes import items_of
from yxanul.base.errors import YxanulError
from yxanul.text import config
from yxanul.text.config import CommonSettings
from yxanul.text.documents import CAUSES, Document, Dropped
from yxanul.text.prepare import prepared
from yxanul.text.sources import SOURCES, open_source, parquet

COUNT = 40
TEXTS = [f"text number {n}: été, 文字 🙂" for n in range(COUNT)]


@dataclass
class Case:
    """Settings, how many documents they give, what is dropped, and a file to change."""

    settings: CommonSettings
    documents: int
    dropped: dict = field(default_factory=dict)
    file: object = None


def text(folder):
    lines = [text.encode() for text in TEXTS]
    (folder / "a.txt").write_bytes(b"\n".join([*lines[:20], b"bro\xffken"]))
    (folder / "b.txt").write_bytes(b"\n".join(lines[20:]))
    settings = config.TextSettings(path=str(folder), split_by="lines")
    return Case(settings, COUNT, {"broken_utf8": 1}, folder / "b.txt")


def jsonl(folder):
    rows = [json.dumps({"text": text}) for text in TEXTS]
    (folder / "a.jsonl").write_text("\n".join([*rows[:20], "{oops", '{"text": "\\udfff"}']))
    (folder / "b.jsonl").write_text("\n".join([*rows[20:], '{"text": 1}']))
    dropped = {"bad_json": 1, "broken_utf8": 1, "not_text": 1}
    return Case(config.JsonlSettings(path=str(folder)), COUNT, dropped, folder / "b.jsonl")


def parquet_files(folder):
    columns = {"text": [*TEXTS, None], "n": list(range(COUNT + 1))}
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=10)
    (folder / "b.parquet").write_bytes(b"PAR1 cut short")
    dropped = {"missing_column": 1, "truncated": 1}
    return Case(config.ParquetSettings(path=str(folder)), COUNT, dropped, folder / "b.parquet")


def hub(folder):
    """A local folder goes the same way as a name on the hub."""
    rows = [json.dumps({"text": text}) for text in [*TEXTS, None]]
    (folder / "train.jsonl").write_text("\n".join(rows))
    return Case(config.HubSettings(name=str(folder)), COUNT, {"missing_column": 1})


def builtin(folder):
    return Case(config.BuiltinSettings(domain="math", documents=COUNT), COUNT)


CASES = {"text": text, "jsonl": jsonl, "parquet": parquet_files, "hub": hub, "builtin": builtin}


@pytest.fixture(params=list(SOURCES))
def case(request, tmp_path, monkeypatch):
    """A small source of one kind, in several parts where its files allow it."""
    monkeypatch.setattr(parquet, "PART_BYTES", 2000)
    monkeypatch.setattr("yxanul.text.sources.hub_rows.ROWS_PER_SLICE", 15)
    monkeypatch.setattr("yxanul.text.sources.builtin_source.DOCUMENTS_A_PART", 15)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    if request.param == "hub":
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache/datasets"))
    folder = tmp_path / "texts"
    folder.mkdir()
    return CASES[request.param](folder)


def read_all(settings):
    source = open_source("mine", settings)
    return [item for part in source.slices() for item in source.read(part)]


def test_every_source_has_a_case():
    assert set(CASES) == set(SOURCES)


def test_an_unknown_kind_is_an_error():
    with pytest.raises(YxanulError, match="unknown source"):
        open_source("mine", CommonSettings())


def test_what_is_read_is_what_is_there(case):
    items = read_all(case.settings)
    documents = [item for item in items if isinstance(item, Document)]
    assert len(documents) == case.documents
    assert Counter(item.cause for item in items if isinstance(item, Dropped)) == case.dropped
    if case.settings.kind != "builtin":
        assert [document.text for document in documents] == TEXTS


def test_ids_are_unique_and_text(case):
    ids = [item.id for item in read_all(case.settings) if isinstance(item, Document)]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(name, str) and name.encode() for name in ids)


def test_parts_are_stable_and_named_apart(case):
    parts = open_source("mine", case.settings).slices()
    assert parts == open_source("mine", case.settings).slices()
    assert len({part.name for part in parts}) == len(parts) > 1


def test_opening_reads_nothing(case):
    settings = case.settings
    if "path" in type(settings).model_fields:
        settings = settings.model_copy(update={"path": "/there/is/nothing"})
        with pytest.raises(YxanulError, match="/there/is/nothing"):
            open_source("mine", settings).slices()
    assert open_source("mine", settings).name == "mine"


def test_any_part_may_be_read_at_any_time(case):
    source = open_source("mine", case.settings)
    parts = source.slices()
    in_order = [list(source.read(part)) for part in parts]
    anew = [list(open_source("mine", case.settings).read(part)) for part in reversed(parts)]
    assert anew[::-1] == in_order
    together = [source.read(part) for part in parts]
    taken = [next(items) for items in together]
    assert [[first, *rest] for first, rest in zip(taken, together, strict=True)] == in_order


def test_another_process_reads_the_same(case, elsewhere):
    source = open_source("mine", case.settings)
    part = source.slices()[-1]
    assert elsewhere(items_of, source, part) == list(source.read(part))
    assert pickle.loads(pickle.dumps(case.settings)) == case.settings


@pytest.mark.parametrize("limit", [1, 17, 1000])
def test_a_limit_gives_the_first_documents(case, limit):
    limited = case.settings.model_copy(update={"limit": limit})
    everything = read_all(case.settings)
    items = read_all(limited)
    assert items == everything[:limit]
    source = open_source("mine", limited)
    assert source.slices() == open_source("mine", limited).slices()


def test_problems_are_counted_or_stop(case):
    source = open_source("mine", case.settings)
    dropping = case.settings.model_copy(update={"on_bad_file": "drop"})
    source = open_source("mine", dropping)
    items = list(chain.from_iterable(prepared(source, part) for part in source.slices()))
    counted = Counter(item.cause for item in items if isinstance(item, Dropped))
    assert counted == case.dropped
    assert set(counted) <= set(CAUSES)
    strict = open_source("mine", case.settings.model_copy(update={"on_problem": "stop"}))
    stopping = chain.from_iterable(prepared(strict, part) for part in strict.slices())
    if case.dropped:
        with pytest.raises(YxanulError, match="source 'mine'"):
            list(stopping)
    else:
        assert list(stopping) == items


def test_a_changed_file_changes_its_part_alone(case):
    if case.file is None:
        return
    source = open_source("mine", case.settings)
    before = {part.name: part.fingerprint for part in source.slices()}
    case.file.write_bytes(case.file.read_bytes() + b" ")
    after = {part.name: part.fingerprint for part in source.slices()}
    changed = [name for name in before if before[name] != after[name]]
    assert before.keys() == after.keys()
    assert len(changed) == 1
    assert changed[0].startswith(case.file.name)
