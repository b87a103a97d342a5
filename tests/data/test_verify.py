import hashlib
import json
import shutil

import numpy as np
import pytest

from yxanul.base.files import sha256_of
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.verify import verify_sources
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings

END = 256


@pytest.fixture(scope="module")
def sound(tmp_path_factory, write_stories, byte_tokenizer):
    """Two sources, each of three files of twenty stories and one that is empty."""
    folder = tmp_path_factory.mktemp("verify")
    sources = {}
    for name, documents in (("tales", 20), ("others", 21)):
        texts = write_stories(folder / name, 3, documents)
        for path in texts.iterdir():  # no text is in both
            path.write_text(path.read_text().replace('"text": "', f'"text": "{name} '))
        (texts / "09.jsonl").write_text('{"text": " "}\n')
        sources[name] = {"kind": "jsonl", "path": str(texts), "on_problem": "drop"}
    settings = {"sources": sources, "validation_fraction": 0.2, "workers": 1}
    prepare_corpus(
        DataSettings.model_validate(settings), byte_tokenizer, folder / "out", SilentUi()
    )
    return folder / "out"


@pytest.fixture
def corpus(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "out")
    return tmp_path / "out"


def verify(corpus, tokenizer=None):
    folders = {name: corpus / name for name in ("tales", "others")}
    return verify_sources(folders, lambda header: tokenizer, SilentUi())


def faults_of(corpus, tokenizer=None):
    """What is wrong, as {path from the data folder: [faults]}; 'others' has to be sound."""
    checks = verify(corpus, tokenizer)
    assert not checks["others"].faults
    found = {}
    for where, what in checks["tales"].faults:
        found.setdefault(str(where.relative_to(corpus)), []).append(what)
    return found


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def resign(corpus):
    """Bring checksums, records, sums and joined text up to date, as a writer with a mistake
    would."""
    tales = corpus / "tales"
    manifest = json.loads((tales / "manifest.json").read_text())
    for split, entry in manifest["splits"].items():
        for number, shard in enumerate(entry["shards"]):
            for suffix in shard["sha256"]:
                shard["sha256"][suffix] = sha256_of(tales / split / f"{number:05d}{suffix}")
            path = tales / "parts" / f"{number:05d}.json"
            record = json.loads(path.read_text())
            record["shards"][split] = shard
            path.write_text(json.dumps(record))
    (tales / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_sound_shards_have_no_fault(corpus, byte_tokenizer, with_tokenizer):
    checks = verify(corpus, byte_tokenizer if with_tokenizer else None)
    for check, documents in ((checks["tales"], 60), (checks["others"], 63)):
        assert (check.faults, check.notes) == ([], [])
        assert check.documents == documents and check.files == 2 * 4 * 3
        assert check.with_text == with_tokenizer


def test_every_fault_is_named_not_only_the_first(corpus):
    for name in ("train/00000.ids", "train/00001.bytes", "validation/00002.offsets"):
        flip(corpus / "tales" / name)
    (corpus / "tales" / "train" / "00002.ids").unlink()
    (corpus / "tales" / "dropped.jsonl").write_text("{}\n")
    found = faults_of(corpus)
    for name in ("train/00000.ids", "train/00001.bytes", "validation/00002.offsets"):
        assert found.pop(f"tales/{name}") == ["its checksum is wrong"]
    assert found.pop("tales/train/00002.ids") == ["it is missing"]
    assert "is damaged" in found.pop("tales/dropped.jsonl")[0]
    assert not found


@pytest.mark.parametrize("suffix", [".ids", ".offsets", ".bytes"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_any_flipped_bit_is_found(corpus, split, suffix):
    random = np.random.default_rng(0)
    for part in range(3):
        flip(corpus / "tales" / split / f"{part:05d}{suffix}", random.random())
    found = faults_of(corpus)
    for part in range(3):
        assert f"tales/{split}/{part:05d}{suffix}" in found


def test_files_of_another_size(corpus):
    path = corpus / "tales" / "train" / "00001.ids"
    path.write_bytes(path.read_bytes() + b"\0\0")
    (what,) = faults_of(corpus)["tales/train/00001.ids"]
    assert "bytes instead of" in what


def change_ids(corpus, change, split="train"):
    path = corpus / "tales" / split / "00000.ids"
    ids = np.fromfile(path, "<u2")
    change(ids)
    ids.tofile(path)
    resign(corpus)


def test_ids_beyond_the_vocabulary(corpus):
    change_ids(corpus, lambda ids: ids.__setitem__(3, 300))
    assert faults_of(corpus) == {
        "tales/train/00000.ids": ["it contains the id 300; expected ids below 257"]
    }


def test_a_document_without_its_end_and_one_with_two(corpus):
    wrong = {"tales/train/00000.ids": ["its documents do not end with eos, or have one inside"]}
    change_ids(corpus, lambda ids: ids.__setitem__(-1, 65))
    assert faults_of(corpus) == wrong
    change_ids(corpus, lambda ids: ids.__setitem__([-1, 3], END))
    assert faults_of(corpus) == wrong


def test_offsets_in_disorder(corpus):
    path = corpus / "tales" / "train" / "00000.offsets"
    offsets = np.fromfile(path, "<u8")
    offsets[[1, 2]] = offsets[[2, 1]]
    offsets.tofile(path)
    resign(corpus)
    assert faults_of(corpus) == {
        "tales/train/00000.offsets": ["its document offsets are not increasing"]
    }


def test_totals(corpus):
    path = corpus / "tales" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["tokens"] += 1
    path.write_text(json.dumps(manifest))
    assert faults_of(corpus) == {
        "tales/manifest.json": ["it is not the sum of the records in parts/"]
    }


def test_sizes_and_lengths_are_those_of_the_records(corpus):
    tales = corpus / "tales"
    manifest = json.loads((tales / "manifest.json").read_text())
    shard = manifest["splits"]["train"]["shards"][0]
    shard["bytes"] += 1
    shard["lengths"] = [*shard["lengths"], 1]
    manifest["splits"]["train"]["bytes"] += 1
    (tales / "manifest.json").write_text(json.dumps(manifest))
    resign(corpus)
    found = faults_of(corpus)
    assert "not add up" in found["tales/train/00000.bytes"][0]
    assert "lengths" in found["tales/train/00000.offsets"][0]


def test_records(corpus):
    (corpus / "tales" / "parts" / "00000.json").unlink()
    (corpus / "tales" / "parts" / "00001.json").write_text("{")
    assert faults_of(corpus) == {
        "tales/parts/00000.json": ["it is missing"],
        "tales/parts/00001.json": ["it is damaged"],
    }


def test_one_damaged_file_is_one_fault(corpus, byte_tokenizer):
    """What follows from it, in the held-out text or among the documents, is not told as well."""
    flip(corpus / "tales" / "validation" / "00001.ids")
    wanted = {"tales/validation/00001.ids": ["its checksum is wrong"]}
    assert faults_of(corpus, byte_tokenizer) == wanted


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_held_out_text_of_others(corpus, byte_tokenizer, with_tokenizer):
    """A letter is exchanged in the text of a part, so that it is not what was encoded."""
    path = corpus / "tales" / "validation" / "00001.txt"
    path.write_bytes(path.read_bytes().replace(b"fox", b"fix", 1))
    found = faults_of(corpus, byte_tokenizer if with_tokenizer else None)
    assert "concatenation" in found["tales/held-out.txt"][0]
    if with_tokenizer:
        wanted = "the ids of 1 of its documents do not match the shard"
        assert wanted in found["tales/validation/00001.txt"]


def test_joined_held_out_text(corpus, byte_tokenizer):
    path = corpus / "tales" / "held-out.txt"
    content = path.read_bytes()
    for wrong in (content[:-1], content + b"x", b"x" + content[1:]):
        path.write_bytes(wrong)
        (fault,) = faults_of(corpus, byte_tokenizer)["tales/held-out.txt"]
        assert "concatenation" in fault
    path.unlink()
    assert faults_of(corpus)["tales/held-out.txt"] == ["it is missing"]


def test_parts_of_held_out_text(corpus):
    (corpus / "tales" / "validation" / "00000.txt").unlink()
    (corpus / "tales" / "validation" / "00001.txt").write_text("short")
    assert faults_of(corpus) == {
        "tales/validation/00000.txt": ["it is missing"],
        "tales/validation/00001.txt": ["its documents do not match the shard"],
    }


def leak(corpus, from_source):
    """Put a held-out document, the first of the third part, in the place of a training document;
    return the numbers of both."""
    validation, train = corpus / from_source / "validation", corpus / "tales" / "train"
    held_out = np.fromfile(validation / "00002.ids", "<u2")
    held_out = held_out[: int(np.fromfile(validation / "00002.offsets", "<u8")[1])]
    counts = json.loads((corpus / from_source / "manifest.json").read_text())["splits"]
    before = sum(one["documents"] for one in counts["validation"]["shards"][:2])
    offsets = np.fromfile(train / "00001.offsets", "<u8").astype(np.int64)
    ids, sizes = (
        np.fromfile(train / f"00001{s}", t) for s, t in ((".ids", "<u2"), (".bytes", "<u8"))
    )
    shift = len(held_out) - (offsets[3] - offsets[2])
    np.concatenate([ids[: offsets[2]], held_out, ids[offsets[3] :]]).tofile(train / "00001.ids")
    offsets[3:] += shift
    offsets.astype("<u8").tofile(train / "00001.offsets")
    sizes[2] = len(held_out) - 1
    sizes.tofile(train / "00001.bytes")
    path = corpus / "tales" / "manifest.json"
    manifest = json.loads(path.read_text())
    lengths = np.diff(offsets)
    histogram = np.bincount(np.frexp(lengths)[1] - 1).tolist()
    for entry in (manifest["splits"]["train"], manifest["splits"]["train"]["shards"][1]):
        entry["tokens"] += int(shift)
        entry["bytes"] += int(shift)
    shard = manifest["splits"]["train"]["shards"][1]
    shard["lengths"] = histogram
    rows = [one["lengths"] for one in manifest["splits"]["train"]["shards"]]
    width = max(map(len, rows))
    padded = [row + [0] * (width - len(row)) for row in rows]
    manifest["splits"]["train"]["lengths"] = np.sum(padded, axis=0).tolist()
    path.write_text(json.dumps(manifest))
    resign(corpus)
    first = manifest["splits"]["train"]["shards"][0]["documents"]
    return first + 2, before


@pytest.mark.parametrize("from_source", ["tales", "others"])
def test_a_held_out_document_among_the_training_documents(corpus, byte_tokenizer, from_source):
    number, held_out = leak(corpus, from_source)
    assert held_out > 1
    found = faults_of(corpus, byte_tokenizer)
    (fault,) = found.pop("tales/train")
    assert not found
    assert f"document {number} and held-out document {held_out} of '{from_source}'" in fault


def test_a_training_document_among_the_held_out_ones(corpus):
    """It is in its place for the shards, but its text does not belong to validation."""
    path = corpus / "tales" / "outline.json"
    for file in (path, corpus / "tales" / "manifest.json"):
        content = json.loads(file.read_text())
        content["header"]["validation_fraction"] = 0.01
        file.write_text(json.dumps(content))
    for record in (corpus / "tales" / "parts").glob("*.json"):
        content = json.loads(record.read_text()) | {"held_out_below": 0.01}
        record.write_text(json.dumps(content))
    found = faults_of(corpus)
    assert found and all("training split" in fault for (fault,) in found.values())


def test_what_is_not_prepared_to_its_end(corpus):
    tales = corpus / "tales"
    for name in ("manifest.json", "held-out.txt", "dropped.jsonl", "parts/00001.json"):
        (tales / name).unlink()
    flip(tales / "train" / "00002.ids")
    found = faults_of(corpus)
    assert found.pop("tales") == [
        "it is incomplete: 3 of 4 shards are encoded; run `yxanul prepare`"
    ]
    assert list(found) == ["tales/train/00002.ids"]


@pytest.mark.parametrize("content", ["{", "{}", '{"header": {"schema_version": 1}}'])
def test_a_manifest_that_is_none(corpus, content):
    (corpus / "tales" / "manifest.json").write_text(content)
    (where,) = faults_of(corpus)
    assert where == "tales"


def test_another_tokenizer_with_the_same_vocabulary_is_seen(sound, tmp_path, write_stories):
    """Its ids decode to another text."""
    texts = write_stories(tmp_path / "texts", 1, 40)
    lines = [json.loads(line)["text"] for line in (texts / "00.jsonl").read_text().splitlines()]

    def trained(some):
        return build_tokenizer(BpeSettings(vocab_size=300), lambda: some, SilentUi())

    one, two = trained(lines), trained([line[::-1] for line in lines])
    source = {"kind": "jsonl", "path": str(texts)}
    settings = {"sources": {"tales": source}, "validation_fraction": 0.3, "workers": 1}
    prepare_corpus(DataSettings.model_validate(settings), one, tmp_path / "out", SilentUi())
    folders = {"tales": tmp_path / "out" / "tales"}
    assert not verify_sources(folders, lambda header: one, SilentUi())["tales"].faults
    (fault,) = verify_sources(folders, lambda header: two, SilentUi())["tales"].faults
    assert "not match the shard" in fault.what


def test_nothing_is_changed(corpus, byte_tokenizer):
    def digest():
        files = sorted(path for path in corpus.rglob("*") if path.is_file())
        return [(path, hashlib.sha256(path.read_bytes()).digest()) for path in files]

    before = digest()
    verify(corpus, byte_tokenizer)
    assert digest() == before
