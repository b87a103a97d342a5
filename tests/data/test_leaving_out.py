"""Filters, copies and benchmarks on the way into shards: counted, kept as samples, repeatable."""

import json

import pytest

from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.report import report_on
from yxanul.data.shards import Shards

TEST_TEXT = "Natalia sold clips to 48 of her friends in April, and then she sold half as many."
TALES = [" ".join(f"fox{tale}x{number}" for number in range(60)) for tale in range(20)]


def benchmark(path):
    return {"benchmarks": {"gsm8k": {"path": str(path)}}}


def settings_for(folder, workers=1, **changes):
    sources = {name: {"kind": "jsonl", "path": str(folder / name)} for name in ("one", "two")}
    plain = {"sources": sources, "validation_fraction": 0.2, "workers": workers}
    return DataSettings.model_validate(plain | changes)


@pytest.fixture
def texts(tmp_path, write_stories):
    """Two sources of three files; the second has copies of the first, scores and short texts."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write_stories(tmp_path / "one", 3, 15)
    for file in range(3):
        lines = (tmp_path / "one" / f"{file:02d}.jsonl").read_text().splitlines()
        rows = [{"text": json.loads(line)["text"], "score": 4.0} for line in lines[:5]]
        rows += [{"text": f"No {file} {n} {TALES[n % 20]}", "score": n / 10} for n in range(50)]
        rows += [{"text": "short", "score": 5}, {"text": f"unscored {file} " * 20}]
        path = tmp_path / "two" / f"{file:02d}.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return tmp_path


def dropped_samples(out, source):
    return [json.loads(line) for line in (out / source / "dropped.jsonl").read_text().splitlines()]


def decoded(out, source, tokenizer):
    texts = []
    for split in ("train", "validation"):
        shards = Shards.open(out, source, split, tokenizer.digest)
        texts += [
            tokenizer.decode(shards.document(n).tolist()[:-1]) for n in range(shards.num_documents)
        ]
    return texts


def test_filters_are_counted_and_samples_kept(texts, byte_tokenizer):
    filters = [
        {"kind": "length", "min_chars": 20, "max_tokens": 1500},
        {"kind": "score", "column": "score", "at_least": 3.5},
    ]
    settings = settings_for(texts)
    sources = {name: one.model_dump() for name, one in settings.sources.items()}
    sources["two"]["filters"] = filters
    out = texts / "out"
    settings = settings_for(texts, sources=sources)
    figures = report_on(prepare_corpus(settings, byte_tokenizer, out, SilentUi()))
    assert figures["dropped"]["one"] == {}
    dropped = figures["dropped"]["two"]
    assert dropped["score"] == 3 * (35 + 1) and dropped["too_short"] == 3
    kept = decoded(out, "two", byte_tokenizer)
    assert len(kept) == figures["documents"]["two"] == 3 * 57 - sum(dropped.values())
    assert all(len(text) >= 20 and len(text.encode()) <= 1500 for text in kept)
    samples = dropped_samples(out, "two")
    assert {sample["cause"] for sample in samples} == set(dropped)
    assert next(s for s in samples if s["cause"] == "too_short")["text"] == "short"
    assert all(sample["where"] for sample in samples)


def test_copies_go_within_and_between_sources(texts, byte_tokenizer):
    out = texts / "out"
    settings = settings_for(texts, deduplicate={"exact": True})
    figures = report_on(prepare_corpus(settings, byte_tokenizer, out, SilentUi()))
    assert figures["dropped"]["one"] == {}
    assert figures["dropped"]["two"] == {"duplicate": 15 + 2}
    everything = decoded(out, "one", byte_tokenizer) + decoded(out, "two", byte_tokenizer)
    assert len(everything) == len(set(everything))
    assert "short" in everything


def test_near_copies_go(texts, byte_tokenizer):
    pytest.importorskip("rensa")
    out = texts / "out"
    settings = settings_for(texts, deduplicate={"near": {"threshold": 0.7}})
    figures = report_on(prepare_corpus(settings, byte_tokenizer, out, SilentUi()))
    assert figures["dropped"]["two"]["near_duplicate"] > 100, "one word in sixty differs"


def test_what_benchmarks_ask_is_left_out_of_every_source(texts, byte_tokenizer):
    (texts / "gsm8k.jsonl").write_text(json.dumps({"question": TEST_TEXT, "answer": "72"}) + "\n")
    for name in ("one", "two"):
        with open(texts / name / "00.jsonl", "a") as file:
            leak = "He read: natalia SOLD clips to 48 of her friends in April and then she sold!"
            file.write(json.dumps({"text": f"{name} {leak}"}) + "\n")
    out = texts / "out"
    settings = settings_for(texts, decontaminate=benchmark(texts / "gsm8k.jsonl"))
    manifests = prepare_corpus(settings, byte_tokenizer, out, SilentUi())
    for name in ("one", "two"):
        assert manifests[name].dropped == {"contaminated": 1}
        assert "Natalia" not in " ".join(decoded(out, name, byte_tokenizer))
        assert dropped_samples(out, name)[0]["text"].startswith(f"{name} He read")


def test_another_test_set_in_a_benchmark_s_folder_is_noticed(texts, byte_tokenizer):
    tests, out = texts / "tests", texts / "out"
    tests.mkdir()
    contaminated = []
    for number in range(2):
        row = {"question": TALES[5 + number], "answer": "none"}
        (tests / f"{number}.jsonl").write_text(json.dumps(row))
        settings = settings_for(texts, decontaminate=benchmark(tests))
        manifests = prepare_corpus(settings, byte_tokenizer, out, SilentUi())
        contaminated.append(manifests["two"].dropped["contaminated"])
    assert contaminated[1] > contaminated[0]


def content_of(folder):
    skipped = (".lock", ".workers")
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in skipped]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_any_number_of_workers_and_a_second_call_give_the_same_bytes(
    texts, byte_tokenizer, assert_sound
):
    changes = {
        "deduplicate": {"exact": True},
        "filters": [{"kind": "length", "min_tokens": 30}],
    }
    outs = []
    for workers in (1, 2):
        out = texts / f"out{workers}"
        settings = settings_for(texts, workers, **changes)
        prepare_corpus(settings, byte_tokenizer, out, SilentUi())
        outs.append(content_of(out))
    assert outs[0] == outs[1]
    assert_sound(texts / "out1", byte_tokenizer)
    before = {path: path.stat().st_mtime_ns for path in (texts / "out1").rglob("*.ids")}
    prepare_corpus(settings_for(texts, 1, **changes), byte_tokenizer, texts / "out1", SilentUi())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_copy_that_loses_its_original_comes_back(texts, byte_tokenizer):
    """Which documents are copies depends on the other source."""
    out, changes = texts / "out", {"deduplicate": {"exact": True}}
    prepare_corpus(settings_for(texts, **changes), byte_tokenizer, out, SilentUi())
    lines = (texts / "one" / "00.jsonl").read_text().splitlines()
    (texts / "one" / "00.jsonl").write_text("\n".join(lines[5:]) + "\n")
    again = prepare_corpus(settings_for(texts, **changes), byte_tokenizer, out, SilentUi())
    assert again["two"].dropped == {"duplicate": 10 + 2}
    fresh = texts / "fresh"
    prepare_corpus(settings_for(texts, **changes), byte_tokenizer, fresh, SilentUi())
    assert content_of(out) == content_of(fresh)


def test_copies_are_sought_again_if_passages_end_elsewhere(tmp_path, byte_tokenizer):
    """What is held out begins and ends passages."""
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(f"{n} {TALES[n % 20]}" for n in range(600)))
    source = {"kind": "text", "path": str(book)}
    for number, fraction in enumerate((0.2, 0.1, 0.2)):
        plain = {"sources": {"book": source}, "validation_fraction": fraction, "workers": 1}
        settings = DataSettings.model_validate(plain | {"deduplicate": {"exact": True}})
        manifests = [
            prepare_corpus(settings, byte_tokenizer, tmp_path / out, SilentUi())["book"]
            for out in ("again", f"fresh{number}")
        ]
        assert manifests[0] == manifests[1]
        assert content_of(tmp_path / "again") == content_of(tmp_path / f"fresh{number}")


@pytest.mark.parametrize("name", ["outline.json", "held-out.txt", "dropped.jsonl"])
def test_a_file_that_is_gone_from_a_finished_source_comes_back(texts, byte_tokenizer, name):
    out = texts / "out"
    prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    before = content_of(out)
    (out / "two" / name).unlink()
    prepare_corpus(settings_for(texts), byte_tokenizer, out, SilentUi())
    assert (out / "two" / name).is_file()
    assert content_of(out) == before
