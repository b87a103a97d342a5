"""The parts of a large file, read one by one, are the file."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.text.config import JsonlSettings, TextSettings
from yxanul.text.documents import Document
from yxanul.text.sources import byte_ranges, chunking, open_source, plain_text

SEPARATOR = "##"


def outcome(item):
    """What has to be the same: the text or the cause, whatever the name."""
    return item.text if isinstance(item, Document) else item.cause


def read_parts(settings, range_bytes):
    """Read every part by a source of its own, as workers do; return parts and items."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_ranges, "RANGE_BYTES", range_bytes)
        parts = open_source("mine", settings).slices()
    return parts, [item for part in parts for item in open_source("mine", settings).read(part)]


def outcomes(items):
    """Whether most of what is read is broken may differ from range to range."""
    return [outcome(item) for item in items if getattr(item, "cause", "") != "not_utf8"]


def check_ranges(settings, sizes):
    """All lengths of ranges give what the whole file gives; ids stay apart."""
    (_,), whole = read_parts(settings, 1 << 40)
    for range_bytes in sizes:
        parts, items = read_parts(settings, range_bytes)
        assert outcomes(items) == outcomes(whole), range_bytes
        ids = [item.id for item in items if isinstance(item, Document)]
        assert len(set(ids)) == len(ids)
        assert len({part.name for part in parts}) == len(parts)
    return whole


SCRAPS = st.lists(
    st.sampled_from(
        [b"a", b" ", b"\n", b"\n", b"\r\n", b"\n\n", "é€🙂".encode(), b"\xff", b"\x00", b"##",
         b"\n##\n", b"\n ## \n", b"##\r\n", b"\n##", b"a long line without an end "]
    ),
    max_size=40,
)  # fmt: skip
MARK = st.sampled_from([b"", b"\xef\xbb\xbf"])
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("spans") / "a.txt"


@given(MARK, SCRAPS, SIZES, st.booleans())
def test_ranges_of_plain_text_are_the_file(path, mark, scraps, sizes, small):
    path.write_bytes(mark + b"".join(scraps))
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(byte_ranges, "MAX_LINE_BYTES", 20)
            patch.setattr(plain_text, "MAX_LINE_BYTES", 20)
            patch.setattr(chunking, "MAX_DOCUMENT_CHARS", 50)
        for split_by in ("lines", "separator"):
            check_ranges(
                TextSettings(path=str(path), split_by=split_by, separator=SEPARATOR), sizes
            )


ROWS = st.lists(
    st.sampled_from(
        [b'{"text": "a"}', '{"text": "é€🙂"}'.encode(), b'{"text": 1}', b"{oops", b"", b" ", b"[1]",
         b'{"text": "\xff"}', b'{"text": "' + b"long " * 9 + b'"}', b'{"text": "a"}\r']
    ),
    max_size=20,
)  # fmt: skip


@given(MARK, ROWS, SIZES, st.sampled_from([b"", b"\n", b"\n\n"]))
def test_ranges_of_json_lines_are_the_file(path, mark, rows, sizes, end):
    path.write_bytes(mark + b"\n".join([b'{"text": "first"}', *rows]) + end)
    check_ranges(JsonlSettings(path=str(path), text_column="text"), sizes)


@given(SCRAPS, SIZES, st.integers(16, 40))
def test_passages_of_ranges_lose_nothing(path, scraps, sizes, passage_chars):
    data = b"".join(scraps).replace(b"\xff", b"")
    path.write_bytes(data)
    for range_bytes in sizes:
        settings = TextSettings(path=str(path), split_by="passages", passage_chars=passage_chars)
        _, items = read_parts(settings, range_bytes)
        texts = "".join(item.text for item in items if isinstance(item, Document))
        assert "".join(texts.split()) == "".join(data.decode().split())


def test_a_passage_begins_at_the_first_blank_line_of_its_range(path):
    path.write_text("one\ntwo\n\nthree\n \nfour\nfive\n")
    settings = TextSettings(path=str(path), split_by="passages", passage_chars=1000)
    parts, items = read_parts(settings, 6)
    assert [item.text for item in items] == ["one\ntwo", "three\n ", "four", "five"]
    assert [part.name for part in parts][:2] == ["a.txt@0-6 passages", "a.txt@6-12 passages"]
    assert [item.id for item in items] == [f"a.txt@{at}#0" for at in (0, 6, 12, 18)]


@pytest.mark.parametrize("range_bytes", range(1, 40))
def test_a_separator_exactly_at_the_cut(path, range_bytes):
    path.write_text("one\n\n##\ntwo\n##\n##\n ## \nfour##five\n##six")
    settings = TextSettings(path=str(path), separator=SEPARATOR)
    whole = check_ranges(settings, [range_bytes])
    assert [i.text for i in whole] == ["one", "two", "", "", "four", "five", "six"]


def test_real_stories_in_ranges(shared_data):
    settings = TextSettings(path=str(shared_data / "stories" / "tinystories.txt"))
    rng = random.Random(7)
    whole = check_ranges(settings, [rng.randrange(50_000, 2_000_000) for _ in range(3)])
    assert len(whole) == 5720
    settings = JsonlSettings(path=str(shared_data / "web" / "c4_200.jsonl"))
    assert len(check_ranges(settings, [1000, 77_777])) == 200


def test_auto_is_decided_once_a_file(path, monkeypatch):
    path.write_text("one\n\n" * 20 + "##\n" + "two\n\n" * 20)
    settings = TextSettings(path=str(path), separator=SEPARATOR)
    parts, items = read_parts(settings, 30)
    assert {part.name.rpartition(" ")[2] for part in parts} == {"separator"}
    assert len(items) == 2
    monkeypatch.setattr(plain_text, "AUTO_BYTES", 50)
    parts, _ = read_parts(settings, 30)
    assert {part.name.rpartition(" ")[2] for part in parts} == {"passages"}

    def no_look(*_):
        raise AssertionError("a reader of a range decided anew")

    monkeypatch.setattr(plain_text, "has_separator_line", no_look)
    assert list(open_source("mine", settings).read(parts[1]))


def test_what_is_read_in_one_go(path, tmp_path):
    path.write_text("one\n" * 100)
    for settings in (
        TextSettings(path=str(path), split_by="file"),
        TextSettings(path=str(path), split_by="lines", limit=3),
    ):
        parts, items = read_parts(settings, 20)
        assert len(parts) == 1
        assert items
    (tmp_path / "a.json").write_text(json.dumps([{"text": "one"}] * 50))
    assert len(read_parts(JsonlSettings(path=str(tmp_path / "a.json")), 20)[0]) == 1
    path.write_text("one\n" * 100, encoding="utf-16")
    parts, items = read_parts(TextSettings(path=str(path)), 20)
    assert len(parts) == 1
    assert items[0].text.startswith("one\none")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' * 100, encoding="utf-16")
    parts, items = read_parts(JsonlSettings(path=str(tmp_path / "a.jsonl")), 60)
    assert len(parts) == 1 and [item.text for item in items] == ["one"] * 100


def test_a_changed_file_changes_all_its_ranges_and_no_other(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\n" * 50)
    settings = TextSettings(path=str(tmp_path), split_by="lines")
    before, _ = read_parts(settings, 60)
    (tmp_path / "b.txt").write_text("two\n" * 50 + "\n")
    after, _ = read_parts(settings, 60)
    same = [old == new for old, new in zip(before, after, strict=True)]
    assert same == [part.name.startswith("a.txt") for part in before]
    assert sum(part.size_bytes for part in after) == 401


def test_a_range_reads_little_more_than_itself(tmp_path, peak_bytes):
    """A line of many ranges is not read again by each of them."""
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        for _ in range(20):
            file.write(b"x" * (1 << 20))
        file.write(b"\nend\n")
    settings = TextSettings(path=str(path), split_by="lines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_ranges, "RANGE_BYTES", 2 << 20)
        parts = open_source("mine", settings).slices()
    with peak_bytes() as peak:
        counts = [
            [len(item.text) for item in open_source("mine", settings).read(part)] for part in parts
        ]
    assert sum(counts[0]) == 20 << 20
    assert counts[1:] == [[]] * 9 + [[3]]
    assert peak.bytes < 16_000_000
