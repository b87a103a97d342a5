import gzip
import json
import tracemalloc

import pytest
import zstandard

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings
from yxanul.text.documents import Dropped
from yxanul.text.sources import open_source


@pytest.fixture
def jsonl(tmp_path, read):
    """A function that writes one file and reads it."""

    def read_file(data, name="a.jsonl", **settings):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(JsonlSettings(path=str(tmp_path / name), **settings))

    return read_file


def lines(*rows):
    return "\n".join(map(json.dumps, rows)) + "\n"


def test_one_object_a_line(jsonl):
    result = jsonl(lines({"text": "one"}, {"text": "two\r\nlines"}) + "\n\n" + '{"text": "three"}')
    assert result.texts == ["one", "two\nlines", "three"]
    assert [document.id for document in result.documents] == [f"a.jsonl#{n}" for n in range(3)]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects(jsonl, indent):
    rows = [{"text": f'a [b] {{c}} "{n}" é'} for n in range(500)]
    result = jsonl("\ufeff \n" + json.dumps(rows, indent=indent), name="a.json")
    assert result.texts == [row["text"] for row in rows]
    assert not result.dropped


def test_strings_are_rows_of_one_column(jsonl):
    assert jsonl('["one", "two"]', name="a.json").texts == ["one", "two"]


def test_an_empty_array_has_no_row(jsonl):
    with pytest.raises(YxanulError, match="no row"):
        jsonl("[]")


@pytest.mark.parametrize(
    "bad",
    [b"{oops", b"[1, 2]", b"17", b"[" * 100_000, b'{"text": ' + b"9" * 5000 + b"x}"],
)
def test_a_bad_line_costs_one_document(jsonl, bad):
    result = jsonl(b'{"text": "one"}\n' + bad + b'\n{"text": "two"}')
    assert result.texts == ["one", "two"]
    assert result.items[1] == Dropped("bad_json", "a.jsonl:2")


@pytest.mark.parametrize("bad", [b'{"text": "a\xffb"}', b'{"text": "a\\ud800b"}'])
def test_broken_utf8_costs_one_document(jsonl, bad):
    result = jsonl(b'{"text": "one"}\n' + bad + b'\n{"text": "two"}')
    assert result.texts == ["one", "two"]
    assert result.dropped == {"broken_utf8": 1}
    result = jsonl(b'["one",' + bad + b',"two"]', text_column="text")
    assert result.texts == ["one", "two"]
    assert result.dropped == {"broken_utf8": 1}


def test_a_whole_pair_of_surrogates_is_a_character(jsonl):
    assert jsonl('{"text": "\\ud83d\\ude42"}').texts == ["🙂"]


def test_a_value_of_another_type_costs_one_document(jsonl):
    rows = [{"text": "one"}, {"text": 17}, {"text": None}, {"other": "x"}, {"text": {"a": "b"}}]
    result = jsonl(lines(*rows))
    assert result.texts == ["one"]
    assert result.dropped == {"not_text": 2, "missing_column": 2}


def test_a_bad_item_ends_an_array(jsonl):
    result = jsonl('[{"text": "one"}, {"text": oops}, {"text": "two"}]')
    assert result.texts == ["one"]
    assert result.items[1] == Dropped("bad_json", "a.jsonl, item 1")
    assert jsonl('[{"text": "one"}] [{"text": "two"}]').dropped == {"bad_json": 1}


@pytest.mark.parametrize("end", ["", ",", ', {"text": "tw', ', {"text": "two"}'])
def test_a_cut_array(jsonl, end):
    result = jsonl('[{"text": "one"}' + end)
    assert result.texts[0] == "one"
    assert result.dropped == {"truncated": 1}


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_packed_files(tmp_path, read, name):
    rows = [{"text": f"document number {n} of many"} for n in range(30_000)]
    pack = gzip.compress if name.endswith("gz") else zstandard.compress
    whole = pack(lines(*rows).encode())
    (tmp_path / name).write_bytes(whole)
    assert read(JsonlSettings(path=str(tmp_path))).texts == [row["text"] for row in rows]
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    cut = read(JsonlSettings(path=str(tmp_path)))
    assert cut.dropped == {"truncated": 1}
    assert len(cut.texts) > 100
    assert cut.texts == [row["text"] for row in rows[: len(cut.texts)]]


def test_an_endless_line_is_left_out(tmp_path, read, monkeypatch):
    monkeypatch.setattr("yxanul.text.sources.rows.MAX_VALUE_BYTES", 1 << 20)
    path = tmp_path / "a.jsonl"
    with open(path, "w") as file:
        file.write('{"text": "one"}\n{"text": "')
        for _ in range(300):
            file.write("word " * 20_000)
        file.write('"}\n{"text": "two"}\n')
    source = open_source("mine", JsonlSettings(path=str(path)))
    (part,) = source.slices()
    tracemalloc.start()
    items = list(source.read(part))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items[1] == Dropped("too_long", "a.jsonl:2")
    assert [items[0].text, items[2].text] == ["one", "two"]
    assert peak_bytes < 8_000_000


def test_a_long_array_streams(tmp_path, peak_bytes):
    path = tmp_path / "a.json"
    with open(path, "w") as file:
        file.write("[")
        file.write(",\n".join(json.dumps({"text": f"{n} " + "x" * 2000}) for n in range(10_000)))
        file.write("]")
    source = open_source("mine", JsonlSettings(path=str(path)))
    (part,) = source.slices()
    with peak_bytes() as peak:
        assert sum(1 for _ in source.read(part)) == 10_000
    assert peak.bytes < 6_000_000


def test_another_file_may_mean_another_column(tmp_path, read):
    (tmp_path / "b.jsonl").write_text(lines({"body": "one", "text": "x"}))
    settings = JsonlSettings(path=str(tmp_path))
    before = read(settings)
    (tmp_path / "a.jsonl").write_text(lines(*[{"body": "two"}] * 3))
    after = read(settings)
    assert (before.texts, after.texts) == (["x"], ["two"] * 3 + ["one"])
    assert before.parts[0].fingerprint != after.parts[1].fingerprint


def test_ids_from_a_column(jsonl):
    rows = [{"text": "a", "id": "x"}, {"text": "b", "id": 17}, {"text": "c"}]
    result = jsonl(lines(*rows), id_column="id")
    assert [document.id for document in result.documents] == ["x", "17", "a.jsonl#2"]


def test_a_column_that_is_not_there_is_an_error_with_the_near_miss(jsonl):
    rows = lines({"content": "a", "url": "b"})
    with pytest.raises(YxanulError, match=r"'contnet'; got content, url; .*'content'"):
        jsonl(rows, text_column="contnet")
    with pytest.raises(YxanulError, match="'title'"):
        jsonl(rows, template="{title}\n{content}")
    with pytest.raises(YxanulError, match="'idd'"):
        jsonl(rows, id_column="idd")


def test_no_row_at_all_is_an_error(tmp_path, jsonl):
    with pytest.raises(YxanulError, match="one JSON object per line"):
        jsonl('{\n "text":\n "spread over lines"\n}')


def wikipedia(folder, count=20):
    """A set like that of Wikipedia: the first file is about the others."""
    (folder / "000_about.jsonl").write_text(
        lines({"total_articles": count * 50, "description": "Articles. " * 5000})
    )
    for file in range(count):
        rows = [{"text": f"t {file} {n}", "title": "a", "token_count": n} for n in range(50)]
        (folder / f"part_{file:03}.jsonl").write_text(lines(*rows))


def test_a_first_file_that_is_about_the_others(tmp_path, read):
    wikipedia(tmp_path)
    filters = ({"kind": "score", "column": "token_count", "at_least": 3},)
    for settings in ({}, {"text_column": "text"}, {"template": "{text}"}, {"id_column": "title"}):
        result = read(JsonlSettings(path=str(tmp_path), **settings))
        assert len(result.texts) == 1000
        assert result.dropped == {"missing_column": 1}
        assert len(result.notes) == (not settings.keys() & {"text_column", "template"})
    result = read(JsonlSettings(path=str(tmp_path), filters=filters))
    assert result.documents[7].scores == {"token_count": 7}
    with pytest.raises(YxanulError, match=r"'txt'; got total_.*'text'\?"):
        read(JsonlSettings(path=str(tmp_path), text_column="txt"))
    with pytest.raises(YxanulError, match="no column 'tokens'"):
        other = ({"kind": "score", "column": "tokens", "at_least": 3},)
        read(JsonlSettings(path=str(tmp_path), filters=other))


def test_a_column_of_one_file_in_many_is_found(tmp_path, read):
    for number in range(40):
        (tmp_path / f"{number:02}.jsonl").write_text(lines({"n": number}))
    with pytest.raises(YxanulError, match="holds text; got n"):
        read(JsonlSettings(path=str(tmp_path)))
    (tmp_path / "17.jsonl").write_text(lines({"words": "here"}))
    for settings in ({}, {"text_column": "words"}):
        result = read(JsonlSettings(path=str(tmp_path), **settings))
        assert result.texts == ["here"]
        assert result.dropped == {"missing_column": 39}


def test_real_chats_in_another_form(shared_data, read):
    for name, count in (("reasoning_messages_123", 123), ("reason_tool_use_demo_50", 50)):
        path = shared_data / "instruct" / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        result = read(JsonlSettings(path=str(path), chat="chatml"))
        assert len(result.texts) == count
        for text, row in zip(result.texts, rows, strict=True):
            assert text.count("<|im_start|>") == text.count("<|im_end|>\n") == len(row["messages"])
            assert text.startswith(f"<|im_start|>{row['messages'][0]['role']}\n")


def count_lines(path):
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        return sum(1 for line in file if line.strip())


@pytest.mark.parametrize(
    ("path", "settings", "count"),
    [
        ("web/c4_200.jsonl", {}, 200),
        ("math/gsm8k_train.jsonl", {"template": "Question: {question}\nAnswer: {answer}"}, 7473),
        ("math/gsm8k_test.jsonl", {"template": "Question: {question}\nAnswer: {answer}"}, 1319),
        ("code/HumanEval.jsonl.gz", {"template": "{prompt}{canonical_solution}"}, 164),
        ("instruct/reasoning_messages_123.jsonl", {}, 123),
        ("instruct/reason_tool_use_demo_50.jsonl", {}, 50),
        ("benchmarks/hellaswag_val.jsonl.gz", {"text_column": "ctx"}, 10_042),
    ],
)
def test_documents_of_the_shared_data(shared_data, read, path, settings, count):
    result = read(JsonlSettings(path=str(shared_data / path), **settings))
    assert len(result.texts) == count == count_lines(shared_data / path)
    assert not result.dropped


def test_arrays_of_the_shared_data(shared_data, read):
    path = shared_data / "instruct" / "instruction-data.json"
    result = read(JsonlSettings(path=str(path), template="{instruction}\n{input}\n{output}"))
    rows = json.loads(path.read_text())
    expected = [f"{row['instruction']}\n{row['input']}\n{row['output']}" for row in rows]
    assert result.texts == expected
    assert len(expected) == 1100
    path = shared_data / "wiki" / "wikitext_passages_1000.json"
    assert read(JsonlSettings(path=str(path))).texts == json.loads(path.read_text())


def test_problems_of_gsm8k_read_as_questions_and_answers(shared_data, read):
    path = shared_data / "math" / "gsm8k_test.jsonl"
    template = "Question: {question}\nAnswer: {answer}"
    text = read(JsonlSettings(path=str(path), template=template)).texts[1]
    assert text == (
        "Question: A robe takes 2 bolts of blue fiber and half that much white fiber.  "
        "How many bolts in total does it take?\n"
        "Answer: It takes 2/2=<<2/2=1>>1 bolt of white fiber\n"
        "So the total amount of fabric is 2+1=<<2+1=3>>3 bolts of fabric\n#### 3"
    )
