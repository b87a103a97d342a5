import json
import os

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.plan import make_header
from yxanul.data.report import report_on
from yxanul.data.shards import Shards
from yxanul.text.split import is_held_out
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings
from yxanul.tokenizer.pre_tokenizers import byte_symbols
from yxanul.tokenizer.tokenizer import Tokenizer


class Listener(SilentUi):
    """Remembers what was said, and how far every task came."""

    def __init__(self):
        self.said, self.warned, self.tasks = [], [], {}

    def say(self, line):
        self.said.append(line)

    def warn(self, line):
        self.warned.append(line)

    def task(self, title, total, unit):
        ui = self

        class Bar:
            done = 0

            def __enter__(self):
                return self

            def __exit__(self, *error):
                ui.tasks[title] = (self.done, total, unit)

            def advance(self, amount, note=""):
                self.done += amount

        return Bar()


def settings_for(folder, **changes):
    source = {"kind": "jsonl", "path": str(folder)} | changes.pop("source", {})
    plain = {"sources": {"tales": source}, "validation_fraction": 0.2, "workers": 1}
    return DataSettings.model_validate(plain | changes)


def content_of(folder):
    """Every file below `folder` but the locks, with its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in (".lock", ".workers")
    }


def texts_of(folder):
    return [
        json.loads(line)["text"]
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def backward_bytes(highest):
    """A tokenizer of single bytes whose ids count down from `highest`; its end of text is 0."""
    vocab = {symbol: highest - byte for byte, symbol in enumerate(byte_symbols())}
    raw = tokenizers.Tokenizer(models.BPE(vocab=vocab | {"</s>": 0}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return Tokenizer(raw, "</s>")


def test_every_document_is_there_once_in_its_split(
    jsonl_folder, tmp_path, byte_tokenizer, assert_sound
):
    texts = jsonl_folder(3, 20)
    manifests = prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    assert_sound(tmp_path / "out", byte_tokenizer)
    for split in ("train", "validation"):
        wanted = [t for t in texts_of(texts) if is_held_out(t, 0.2) == (split == "validation")]
        shards = Shards.open(tmp_path / "out", "tales", split, byte_tokenizer.digest)
        rows = [shards.document(n).tolist() for n in range(shards.num_documents)]
        assert [byte_tokenizer.decode(row[:-1]) for row in rows] == wanted
        assert {row[-1] for row in rows} == {256}
        figures = manifests["tales"].splits[split]
        assert figures.documents == shards.num_documents == len(wanted) > 0
        assert figures.bytes == shards.num_bytes == sum(len(t.encode()) for t in wanted)
        assert figures.tokens == shards.num_tokens == shards.num_bytes + len(wanted)
        assert shards.document_bytes.tolist() == [len(t.encode()) for t in wanted]
        if split == "validation":
            held_out = (tmp_path / "out" / "tales" / "held-out.txt").read_text()
            assert held_out.split("\n<|endoftext|>\n") == wanted


def test_the_report_is_plain_data_by_source(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(1, 30)
    with open(texts / "00.jsonl", "a") as file:
        file.write('{"text": \n{"text": "   "}\n')
    manifests = prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    plain = json.loads(json.dumps(report_on(manifests)))
    assert plain["dropped"] == {"tales": {"bad_json": 1, "empty": 1}}
    assert plain["documents"] == {"tales": 30}
    assert sum(plain["splits"]["documents"]["tales"].values()) == 30
    assert {"documents", "tokens", "bytes", "dropped", "synthetic"} <= set(plain)


def test_any_number_of_workers_gives_the_same_bytes(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(5, 30)
    for workers in (1, 3):
        settings = settings_for(texts, workers=workers)
        prepare_corpus(settings, byte_tokenizer, tmp_path / str(workers), SilentUi())
    assert content_of(tmp_path / "1") == content_of(tmp_path / "3")


def test_a_large_part_is_encoded_in_several_batches(
    jsonl_folder, tmp_path, byte_tokenizer, monkeypatch
):
    texts = jsonl_folder(1, 60)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "whole", SilentUi())
    monkeypatch.setattr("yxanul.data.encode_task._BATCH_CHARS", 2000)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "cut", SilentUi())
    assert content_of(tmp_path / "whole") == content_of(tmp_path / "cut")


def test_progress_reaches_its_end(jsonl_folder, tmp_path, byte_tokenizer):
    texts, ui = jsonl_folder(3, 20), Listener()
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", ui)
    size_bytes = sum(path.stat().st_size for path in texts.glob("*.jsonl"))
    assert ui.tasks == {"encode tales": (size_bytes, size_bytes, "B")}
    assert ui.warned == []


def test_what_a_source_notes_is_said_once(jsonl_folder, tmp_path, byte_tokenizer):
    texts, ui = jsonl_folder(3, 20), Listener()
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", ui)
    assert len(ui.said) == len(set(ui.said)) >= 1
    assert all(line.startswith("tales: ") for line in ui.said)


def test_what_is_done_is_not_done_again(jsonl_folder, tmp_path, byte_tokenizer):
    texts, ui = jsonl_folder(2, 20), Listener()
    out = tmp_path / "out"
    first = prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    times = {path: path.stat().st_mtime_ns for path in (out / "tales").rglob("*")}
    again = prepare_corpus(settings_for(texts), byte_tokenizer, out, ui)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (out / "tales").rglob("*")} == times
    assert ui.tasks == {} and ui.warned == []


def test_another_tokenizer_is_encoded_anew_and_said(jsonl_folder, tmp_path, byte_tokenizer):
    texts, ui = jsonl_folder(2, 20), Listener()
    bpe = build_tokenizer(BpeSettings(vocab_size=300), lambda: texts_of(texts), SilentUi())
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    prepare_corpus(settings_for(texts), bpe, tmp_path / "out", ui)
    prepare_corpus(settings_for(texts), bpe, tmp_path / "fresh", SilentUi())
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")
    assert "tokenizer" in ui.warned[0] and "changed" in ui.warned[0]
    with pytest.raises(YxanulError, match="different tokenizer"):
        Shards.open(tmp_path / "out", "tales", "train", byte_tokenizer.digest)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"validation_fraction": 0.5}, "validation_fraction"),
        ({"source": {"template": "> {text}"}}, "settings"),
    ],
)
def test_other_settings_are_encoded_anew_and_said(
    jsonl_folder, tmp_path, byte_tokenizer, changes, word
):
    texts, ui = jsonl_folder(2, 20), Listener()
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    prepare_corpus(settings_for(texts, **changes), byte_tokenizer, tmp_path / "out", ui)
    prepare_corpus(settings_for(texts, **changes), byte_tokenizer, tmp_path / "fresh", SilentUi())
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")
    assert len(ui.warned) == 1 and word in ui.warned[0]


def test_only_a_part_that_changed_is_encoded_again(jsonl_folder, tmp_path, byte_tokenizer):
    texts, ui = jsonl_folder(3, 20), Listener()
    out = tmp_path / "out"
    prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    before = {n: (out / "tales" / "train" / f"{n}.ids").stat() for n in ("00000", "00001")}
    with open(texts / "01.jsonl", "a") as file:
        file.write(json.dumps({"text": "one more"}) + "\n")
    prepare_corpus(settings_for(texts), byte_tokenizer, out, ui)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "fresh", SilentUi())
    assert content_of(out) == content_of(tmp_path / "fresh")
    assert "1 of 3 shards" in ui.warned[0]
    inode = {n: (out / "tales" / "train" / f"{n}.ids").stat().st_ino for n in before}
    assert inode["00000"] == before["00000"].st_ino
    assert inode["00001"] != before["00001"].st_ino


def test_a_part_that_is_gone_leaves_nothing_behind(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(3, 20)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    (texts / "02.jsonl").unlink()
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "fresh", SilentUi())
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


@pytest.mark.parametrize(
    "name",
    ["train/00001.ids", "validation/00000.offsets", "validation/00001.txt", "held-out.txt",
     "parts/00000.json", "manifest.json"],
)  # fmt: skip
def test_a_missing_file_is_made_again(jsonl_folder, tmp_path, byte_tokenizer, name):
    texts = jsonl_folder(2, 20)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    before = content_of(tmp_path / "out")
    (tmp_path / "out" / "tales" / name).unlink()
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    assert content_of(tmp_path / "out") == before


def test_going_back_to_a_tokenizer_whose_successor_was_stopped(
    jsonl_folder, tmp_path, byte_tokenizer, monkeypatch
):
    """The successor's shards are written, of equal size, their record is not: the old record must
    not vouch for them."""
    texts, out = jsonl_folder(2, 20), tmp_path / "out"
    prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    before = content_of(out)
    with monkeypatch.context() as patch:

        def stop(path, value):
            raise KeyboardInterrupt

        patch.setattr("yxanul.data.encode_task.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(settings_for(texts), backward_bytes(256), out, SilentUi())
    with pytest.raises(YxanulError, match="not fully encoded"):
        Shards.open(out, "tales", "train")
    prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    assert content_of(out) == before


def test_nothing_left_to_train_on_is_an_error_with_a_hint(jsonl_folder, tmp_path, byte_tokenizer):
    settings = settings_for(jsonl_folder(1, 10), validation_fraction=1 - 1e-9)
    with pytest.raises(YxanulError, match=r"'tales' has no document.*lower data\.val"):
        prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi())


def test_one_document_is_held_out_always(jsonl_folder, tmp_path, byte_tokenizer, assert_sound):
    settings = settings_for(jsonl_folder(3, 10), validation_fraction=1e-6, workers=2)
    splits = prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi())["tales"].splits
    assert {name: split.documents for name, split in splits.items()} == {
        "train": 29,
        "validation": 1,
    }
    assert_sound(tmp_path / "out", byte_tokenizer)


def test_the_digest_of_settings_is_that_of_runs_begun_before(byte_tokenizer):
    """Another one would refuse the shards of these runs."""
    settings = DataSettings.model_validate({"sources": {"a": {"kind": "text", "path": "x"}}})
    assert make_header("a", settings, byte_tokenizer).settings.startswith("392d7c9c03d91275")


def test_a_source_without_documents_is_an_error(tmp_path, byte_tokenizer):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"text": ""}\n{"text": " "}\n')
    with pytest.raises(YxanulError, match=r"'tales' .*dropped: 2 empty"):
        prepare_corpus(settings_for(tmp_path / "texts"), byte_tokenizer, tmp_path, SilentUi())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_problem_that_stops_is_an_error_also_from_a_worker(
    jsonl_folder, tmp_path, byte_tokenizer, workers
):
    texts = jsonl_folder(3, 20)
    (texts / "01.jsonl").write_text("{broken\n")
    settings = settings_for(texts, workers=workers, source={"on_problem": "stop"})
    with pytest.raises(YxanulError, match=r"tales.*01\.jsonl"):
        prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi())
    leftovers = [path for path in (tmp_path / "out").rglob(".*") if "partial" in path.name]
    assert leftovers == []


def test_half_a_surrogate_pair_in_a_document_stops_nothing(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(1, 20)
    with open(texts / "00.jsonl", "a") as file:
        file.write('{"text": "half \\ud800 pair"}\n')
    manifests = prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    assert report_on(manifests)["documents"]["tales"] >= 20


def test_two_calls_on_one_folder_exclude_each_other(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(1, 10)
    with folder_lock(tmp_path / "out"), pytest.raises(YxanulError, match="in use"):
        prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())


def test_ids_beyond_16_bits_keep_their_value(jsonl_folder, tmp_path, assert_sound):
    tokenizer = backward_bytes(70_000)
    texts = jsonl_folder(1, 20)
    prepare_corpus(settings_for(texts), tokenizer, tmp_path / "out", SilentUi())
    shards = Shards.open(tmp_path / "out", "tales", "train", tokenizer.digest)
    train = [text for text in texts_of(texts) if not is_held_out(text, 0.2)]
    assert tokenizer.decode(shards.document(0)[:-1].tolist()) == train[0]
    assert shards.document(0).max() > 65_535
    assert shards.document(0)[-1] == 0
    assert_sound(tmp_path / "out", tokenizer)


def test_two_sources_at_once(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(2, 30)
    plain = {"kind": "jsonl", "path": str(texts)}
    both = {"tales": plain, "lines": plain | {"template": "- {text}"}}
    settings = settings_for(texts, sources=both, workers=2)
    report = report_on(prepare_corpus(settings, byte_tokenizer, tmp_path / "out", SilentUi()))
    assert list(report["bytes"]) == ["tales", "lines"]
    assert report["bytes"]["lines"] - report["bytes"]["tales"] == 2 * 60
    assert sorted(os.listdir(tmp_path / "out")) == [".lock", ".workers", "lines", "tales"]


def test_ids_are_little_endian_on_the_disk(jsonl_folder, tmp_path, byte_tokenizer):
    texts = jsonl_folder(1, 20)
    prepare_corpus(settings_for(texts), byte_tokenizer, tmp_path / "out", SilentUi())
    raw = (tmp_path / "out" / "tales" / "train" / "00000.ids").read_bytes()
    train = [text for text in texts_of(texts) if not is_held_out(text, 0.2)]
    assert raw[:4] == bytes([train[0].encode()[0], 0, train[0].encode()[1], 0])
    assert np.frombuffer(raw, "<u2").max() == 256
