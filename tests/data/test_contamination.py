import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yxanul.base.errors import YxanulError
from yxanul.data.contamination import benchmark_texts
from yxanul.text.benchmarks import BENCHMARKS
from yxanul.text.config import JsonlSettings
from yxanul.text.sources import open_source

ROWS = {
    "hellaswag": [
        {"ctx": "A man sits down. he", "endings": ["sleeps.", "flies."], "label": "0"},
        {"ctx": "A dog\n\nbarks. it", "endings": ["stops.", "goes on."], "label": "1"},
    ],
    "triviaqa": [{"question": "What is a dik-dik?", "answer": {"value": "Antelope"}}],
    "gsm8k": [{"question": "What is 1 + 1?", "answer": "It is 2.\n#### 2"}],
    "humaneval": [
        {
            "task_id": "0",
            "prompt": "def f(x):\n",
            "canonical_solution": "    return x\n",
            "test": "",
        }
    ],
}
TEXTS = {
    "hellaswag": [
        "A man sits down. he sleeps.",
        "A man sits down. he flies.",
        "A dog\n\nbarks. it stops.",
        "A dog\n\nbarks. it goes on.",
    ],
    "triviaqa": ["What is a dik-dik?"],
    "gsm8k": ["What is 1 + 1?", "It is 2.\n#### 2"],
    "humaneval": ["def f(x):\n", "    return x\n"],
}


def test_every_benchmark_has_an_example():
    assert set(BENCHMARKS) == set(ROWS) == set(TEXTS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows_become_texts_from_every_kind_of_file(name, tmp_path):
    lines = "\n".join(map(json.dumps, ROWS[name]))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS[name]), tmp_path / "c.parquet")
    for path in tmp_path.iterdir():
        assert list(benchmark_texts(name, str(path))) == TEXTS[name], path.name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_without_a_path_the_hub_is_asked(name, tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS[name])))
    asked = []

    def open_local_source(name, settings):
        asked.append(settings)
        local = JsonlSettings(path=str(tmp_path / "a.jsonl"), template=settings.template)
        return open_source(name, local)

    monkeypatch.setattr("yxanul.data.contamination.open_source", open_local_source)
    assert list(benchmark_texts(name)) == TEXTS[name]
    (settings,) = asked
    assert settings.model_copy(update={"template": None}) == BENCHMARKS[name].hub
    assert settings.split in ("validation", "test")


def test_an_unknown_benchmark_is_an_error_with_the_near_miss():
    with pytest.raises(YxanulError, match="did you mean 'gsm8k'"):
        list(benchmark_texts("gsm8"))


def test_a_missing_file_and_other_columns_are_errors(tmp_path):
    with pytest.raises(YxanulError, match="nowhere"):
        list(benchmark_texts("gsm8k", str(tmp_path / "nowhere.jsonl")))
    (tmp_path / "a.jsonl").write_text('{"problem": "x", "answer": "y"}')
    with pytest.raises(YxanulError, match=r"a\.jsonl has no column 'question'"):
        list(benchmark_texts("gsm8k", str(tmp_path / "a.jsonl")))
    with pytest.raises(YxanulError, match=r"a\.jsonl has no column 'question'"):
        list(benchmark_texts("triviaqa", str(tmp_path / "a.jsonl")))


def test_a_row_that_cannot_be_read_is_an_error(tmp_path):
    lines = [json.dumps(ROWS["gsm8k"][0]), '{"question": "x"', json.dumps(ROWS["gsm8k"][0])]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(YxanulError, match=r"the test set of gsm8k: a\.jsonl:2 is not a JSON"):
        list(benchmark_texts("gsm8k", str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize(
    ("name", "file", "count", "begins"),
    [
        ("gsm8k", "math/gsm8k_test.jsonl", 2 * 1319, "Janet\u2019s ducks lay 16 eggs per day."),
        ("humaneval", "code/HumanEval.jsonl.gz", 2 * 164, "from typing import List"),
        (
            "hellaswag",
            "benchmarks/hellaswag_val.jsonl.gz",
            4 * 10042,
            "Roof shingle removal: A man",
        ),
        ("triviaqa", "benchmarks/triviaqa_1500.jsonl", 1500, "Brunswick, Lancastrian and Pearl"),
    ],
)
def test_the_real_sets(name, file, count, begins, shared_data):
    texts = list(benchmark_texts(name, str(shared_data / file)))
    assert len(texts) == count
    assert texts[0].startswith(begins)
    assert not any(text.endswith("Answer:") for text in texts)
