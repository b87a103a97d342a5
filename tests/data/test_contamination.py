import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yxanul.base.errors import YxanulError
from yxanul.data.contamination import benchmark_texts
from yxanul.text.benchmarks import BENCHMARKS, all_strings
from yxanul.text.sources import hub_plan

ROWS = {
    "hellaswag": [
        {"ctx": "A man sits down. he", "endings": ["sleeps.", "flies."], "label": "0"},
        {"ctx": "A dog\n\nbarks. it", "endings": ["stops.", "goes on."], "label": "1"},
    ],
    "triviaqa": [{"question": "What is a dik-dik?", "answer": {"value": "Antelope"}}],
    "gsm8k": [{"question": "What is 1 + 1?", "answer": "It is 2.\n#### 2"}],
    "arc_easy": [
        {"question": "What is wet?", "choices": {"text": ["Water.", "Dust."]}, "answerKey": "A"}
    ],
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
    "arc_easy": ["What is wet?", "Water.", "Dust.", "A"],
    "humaneval": ["def f(x):\n", "    return x\n"],
}


def test_every_benchmark_with_texts_of_its_own_has_an_example():
    own = {name for name, row in BENCHMARKS.items() if row.texts is not all_strings}
    assert own | {"arc_easy"} == set(ROWS) == set(TEXTS)


@pytest.mark.parametrize("name", ROWS)
def test_rows_become_texts_from_every_kind_of_file(name, tmp_path):
    lines = "\n".join(map(json.dumps, ROWS[name]))
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS[name]), tmp_path / "c.parquet")
    for path in tmp_path.iterdir():
        assert list(benchmark_texts(name, str(path))) == TEXTS[name], path.name


@pytest.mark.parametrize("name", ROWS)
def test_without_a_path_the_hub_is_asked(name, monkeypatch):
    asked = []

    def load(query, streaming):
        asked.append(query)
        return ROWS[name]

    monkeypatch.setattr(
        "yxanul.text.benchmark_rows.find_plan",
        lambda query, quick: hub_plan.DatasetPlan("1", hub_plan.ROWS),
    )
    monkeypatch.setattr("yxanul.text.benchmark_rows.load", load)
    assert list(benchmark_texts(name)) == TEXTS[name]
    (query,) = asked
    hub = BENCHMARKS[name].hub
    assert (query.name, query.config, query.split) == (hub.name, hub.config, hub.split)
    assert query.split in ("validation", "test")


def test_a_set_that_is_not_on_the_hub_asks_for_its_file():
    with pytest.raises(YxanulError, match="give its file"):
        list(benchmark_texts("winograd"))


def test_an_unknown_benchmark_is_an_error_with_the_near_miss():
    with pytest.raises(YxanulError, match="'gsm8k'"):
        list(benchmark_texts("gsm8"))


def test_a_missing_file_and_other_columns_are_errors(tmp_path):
    with pytest.raises(YxanulError, match="nowhere"):
        list(benchmark_texts("gsm8k", str(tmp_path / "nowhere.jsonl")))
    (tmp_path / "a.jsonl").write_text('{"problem": "x", "answer": "y"}')
    with pytest.raises(YxanulError, match=r"a\.jsonl .*'question'"):
        list(benchmark_texts("gsm8k", str(tmp_path / "a.jsonl")))
    with pytest.raises(YxanulError, match=r"a\.jsonl .*'question'"):
        list(benchmark_texts("triviaqa", str(tmp_path / "a.jsonl")))


def test_a_row_that_cannot_be_read_is_an_error(tmp_path):
    lines = [json.dumps(ROWS["gsm8k"][0]), '{"question": "x"', json.dumps(ROWS["gsm8k"][0])]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(YxanulError, match=r"gsm8k: a\.jsonl:2 "):
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
