"""Shards at an address: the same bytes as in a folder, one writer at a time, whole files only."""

import json
import os

import numpy as np
import pytest

from yxanul.base.cache import fetched_folder
from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.data import storage
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.executor import Worker
from yxanul.data.fetch import fetch_shards
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards
from yxanul.text.sources import remote, retry

fsspec = pytest.importorskip("fsspec", reason="addresses need fsspec")


class Listener(SilentUi):
    """Remembers how much every task was to do, and the warnings."""

    def __init__(self):
        self.totals, self.warned = {}, []

    def warn(self, line):
        self.warned.append(line)

    def task(self, title, total, unit):
        self.totals[title] = total
        return super().task(title, total, unit)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(retry, "WAITS_SECONDS", (0.0,))


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/place"
    return f"memory://place-{tmp_path.name}"


def settings_for(texts, address=None, workers=1, **changes):
    sources = {"tales": {"kind": "jsonl", "path": str(texts)}}
    plain = {"sources": sources, "validation_fraction": 0.2, "workers": workers}
    return DataSettings.model_validate(plain | {"folder": address} | changes)


def at(address):
    """Every file at an address with its bytes."""
    system, root = remote.file_system(address)
    names = system.find(root)
    return {name[len(root.rstrip("/")) + 1 :]: system.cat_file(name) for name in names}


def content_of(folder):
    names = {path: str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {n: p.read_bytes() for p, n in names.items() if n not in (".lock", ".workers")}


def put(address, name, content):
    system, root = remote.file_system(address)
    system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
    system.pipe_file(f"{root}/{name}", content)


@pytest.fixture
def texts(jsonl_folder):
    return jsonl_folder(4, 20)


def test_an_address_holds_what_a_folder_would(texts, tmp_path, address, byte_tokenizer):
    report = prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "local", SilentUi())
    there = prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path / "x", SilentUi())
    assert at(address) == content_of(tmp_path / "local")
    assert there == report
    assert not (tmp_path / "x").exists()


def test_a_run_reads_an_address_in_the_order_of_a_folder(texts, tmp_path, address, byte_tokenizer):
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "local", SilentUi())
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    folder = fetch_shards(address, SilentUi())
    rows = []
    for one in (tmp_path / "local", folder):
        shards = Shards.open(one, "tales", "train", byte_tokenizer.digest)
        rows.append(TokenStream(shards, 7, 5000).read(0, 20_000))
    np.testing.assert_array_equal(rows[0], rows[1])
    assert folder == fetched_folder(address)


def test_worker_processes_write_to_an_address(texts, tmp_path, byte_tokenizer):
    address = f"file://{tmp_path}/place"
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "local", SilentUi())
    prepare_corpus(settings_for(texts, address, 2), byte_tokenizer, tmp_path, SilentUi())
    assert at(address) == content_of(tmp_path / "local")


def test_copies_and_benchmarks_are_left_out_at_an_address(texts, tmp_path, address, byte_tokenizer):
    asked = " ".join(f"word{number}" for number in range(30))
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": asked, "answer": "#### 1"}) + "\n")
    lines = (texts / "00.jsonl").read_text().splitlines()
    more = [lines[0], lines[1], json.dumps({"text": asked})]
    (texts / "03.jsonl").write_text("\n".join([*more, *lines[2:9]]) + "\n")
    both = []
    for place in (None, address):
        gsm8k = {"path": str(tmp_path / "test.jsonl")}
        settings = settings_for(
            texts,
            place,
            deduplicate={"exact": True},
            decontaminate={"benchmarks": {"gsm8k": gsm8k}},
        )
        out = tmp_path / "local"
        manifests = prepare_corpus(settings, byte_tokenizer, out, SilentUi())
        assert manifests["tales"].dropped == {"contaminated": 1, "duplicate": 9}
        both.append(content_of(out) if place is None else at(address))
    assert {name.split("-")[0] for name in both[0]} >= {"benchmarks", "copies.json"}
    assert both[0] == both[1]
    again = Listener()
    prepare_corpus(settings, byte_tokenizer, out, again)
    assert again.totals == {"find duplicates": 0}


def test_going_on_does_only_what_is_missing(texts, tmp_path, address, byte_tokenizer, monkeypatch):
    done = []
    run = Worker.run

    def stop(worker, task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.number)
        return run(worker, task)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert ".claim.json" not in at(address)
    assert "tales/manifest.json" not in at(address)
    put(address, "tales/train/.00001.ids.12.partial", b"half")
    ui = Listener()
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, ui)
    sizes = [(texts / f"{n:02d}.jsonl").stat().st_size for n in range(4) if n not in done]
    assert ui.totals == {"encode tales": sum(sizes)}
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "local", SilentUi())
    assert at(address) == content_of(tmp_path / "local")


@pytest.mark.parametrize("name", ["train/00002.ids", "validation/00001.txt", "parts/00003.json"])
def test_a_part_that_is_not_whole_is_made_again(texts, tmp_path, address, byte_tokenizer, name):
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    before = at(address)
    system, root = remote.file_system(address)
    system.rm_file(f"{root}/tales/{name}")
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert at(address) == before


def test_parts_that_are_no_more_go(texts, tmp_path, address, byte_tokenizer):
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    (texts / "03.jsonl").unlink()
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "local", SilentUi())
    assert at(address) == content_of(tmp_path / "local")


@pytest.mark.parametrize("content", [b'{"host": "elsewhere", "pid": 12, "token": "x"}', b"{broken"])
def test_what_a_killed_writer_left_stops_nobody(texts, tmp_path, address, byte_tokenizer, content):
    put(address, ".claim.json", content)
    ui = Listener()
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, ui)
    assert "tales/manifest.json" in at(address) and ".claim.json" not in at(address)
    whole = content != b"{broken"
    assert [line for line in ui.warned if "process 12 on elsewhere" in line] == ui.warned
    assert len(ui.warned) == whole


@pytest.mark.parametrize("changes", [{}, {"validation_fraction": 0.5}])
@pytest.mark.parametrize("at_task", [0, 2])
def test_the_later_of_two_writers_finishes_and_the_earlier_one_stops(
    texts, tmp_path, address, byte_tokenizer, monkeypatch, changes, at_task
):
    """The later one comes and goes while the earlier one works, with its settings or others."""
    run, tasks = Worker.run, []
    later = settings_for(texts, address, **changes)

    def meanwhile(worker, task):
        tasks.append(task)
        if len(tasks) == at_task + 1:
            with monkeypatch.context() as patch:
                patch.setattr(Worker, "run", run)
                prepare_corpus(later, byte_tokenizer, tmp_path, SilentUi())
        return run(worker, task)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", meanwhile)
        with pytest.raises(YxanulError, match="a later command took over"):
            prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert len(tasks) == at_task + 1
    local = later.model_copy(update={"folder": None})
    prepare_corpus(local, byte_tokenizer, tmp_path / "local", SilentUi())
    assert at(address) == content_of(tmp_path / "local")


def test_the_earlier_writer_stops_though_the_later_one_is_still_at_work(
    texts, tmp_path, address, byte_tokenizer, monkeypatch
):
    run = Worker.run

    def overtaken(worker, task):
        put(address, ".claim.json", b'{"token": "other"}')
        return run(worker, task)

    monkeypatch.setattr(Worker, "run", overtaken)
    with pytest.raises(YxanulError, match="a later command took over"):
        prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert at(address)[".claim.json"] == b'{"token": "other"}'
    assert set(at(address)) == {".claim.json", "tales/outline.json"}


def test_files_that_do_not_arrive_are_noticed(
    texts, tmp_path, address, byte_tokenizer, monkeypatch
):
    """A machine may have a folder of its own under the name of the shared one."""
    run = Worker.run

    def elsewhere(worker, task):
        value = run(worker, task)
        if task.number == 2:
            system, root = remote.file_system(address)
            system.rm_file(f"{root}/tales/train/00002.ids")
        return value

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", elsewhere)
        with pytest.raises(YxanulError, match=r"1 shards of 'tales' are missing.*02\.jsonl"):
            prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert "tales/manifest.json" not in at(address)
    ui = Listener()
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, ui)
    assert ui.totals == {"encode tales": (texts / "02.jsonl").stat().st_size}


@pytest.mark.parametrize(
    "address, word",
    [
        ("file:///proc/no/such", "cannot access file:///proc/no/such; got "),
        ("nowhere://bucket/corpus", "nowhere"),
        ("s3://bucket/corpus", "s3://bucket/corpus"),
    ],
)
def test_a_place_that_cannot_be_reached_is_one_line(
    texts, tmp_path, byte_tokenizer, address, word, monkeypatch
):
    if address.startswith("s3"):
        pytest.importorskip("s3fs", reason="needs s3fs")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(YxanulError, match=word) as caught:
        prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    assert "\n" not in str(caught.value)


def test_only_changed_files_are_fetched_again(texts, tmp_path, address, byte_tokenizer):
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    first, second, third = Listener(), Listener(), Listener()
    folder = fetch_shards(address, first, ["tales"], ["train"])
    assert first.totals["fetch tales"] == sum(
        len(content) for name, content in at(address).items() if "/train/" in name
    )
    assert not (folder / "tales" / "validation").exists()
    fetch_shards(address, second, ["tales"], ["train"])
    assert second.totals == {}
    lines = (texts / "02.jsonl").read_text().splitlines()
    (texts / "02.jsonl").write_text("\n".join(lines[:10]) + "\n")
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    fetch_shards(address, third, ["tales"], ["train"])
    names = [f"tales/train/00002.{end}" for end in ("ids", "offsets", "bytes")]
    assert third.totals["fetch tales"] == sum(len(at(address)[name]) for name in names)
    assert (folder / "tales" / "held-out.txt").read_bytes() == at(address)["tales/held-out.txt"]
    shards = Shards.open(folder, "tales", "train", byte_tokenizer.digest)
    assert all(shards.shard(n).ids[-1] == 256 for n in range(shards.num_parts))


def test_a_damaged_file_is_never_taken(texts, tmp_path, address, byte_tokenizer):
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    raw = bytearray(at(address)["tales/train/00001.ids"])
    raw[40] ^= 1
    put(address, "tales/train/00001.ids", bytes(raw))
    with pytest.raises(YxanulError, match=r"tales/train/00001\.ids is damaged; .*checksum"):
        fetch_shards(address, SilentUi())
    folder = fetched_folder(address) / "tales"
    assert not (folder / "train" / "00001.ids").exists()
    assert not (folder / "manifest.json").exists()


def test_a_source_that_is_no_more_encoded_is_not_read_from_its_copy(
    texts, tmp_path, address, byte_tokenizer
):
    prepare_corpus(settings_for(texts, address), byte_tokenizer, tmp_path, SilentUi())
    folder = fetch_shards(address, SilentUi())
    Shards.open(folder, "tales", "train")
    system, root = remote.file_system(address)
    system.rm_file(f"{root}/tales/manifest.json")
    for names in (None, ["tales"]):
        fetch_shards(address, SilentUi(), names)
        with pytest.raises(
            YxanulError, match=r"'tales' is not fully encoded.*run `yxanul prepare`"
        ):
            Shards.open(folder, "tales", "train")


def test_scratch_folders_go_with_their_process(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path))
    dead, new = (tmp_path / f"{storage._SCRATCH_NAME}{name}" for name in ("dead", "new"))
    dead.mkdir()
    with storage.scratch_folder() as held:
        assert dead.exists(), "it may be one that is about to be locked"
        for path in (dead, held):
            os.utime(path, (0, 0))
        new.mkdir()
        with storage.scratch_folder() as other:
            assert set(tmp_path.iterdir()) == {held, other, new}
    assert list(tmp_path.iterdir()) == [new]


def test_workers_leave_no_scratch_folder(texts, tmp_path, byte_tokenizer, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr(storage.tempfile, "tempdir", None)
    address = f"file://{tmp_path}/place"
    prepare_corpus(settings_for(texts, address, 2), byte_tokenizer, tmp_path, SilentUi())
    assert not list((tmp_path / "scratch").glob(f"{storage._SCRATCH_NAME}*"))
