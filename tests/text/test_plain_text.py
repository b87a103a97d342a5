import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.documents import Dropped
from yxanul.text.prepare import prepared
from yxanul.text.sources import chunking, open_source
from yxanul.text.sources.bytestream import split_blocks
from yxanul.text.sources.chunking import Lines, by_passage, decode_blocks


@pytest.fixture
def plain(tmp_path, read):
    """A function that writes one file and reads it."""

    def read_file(data, name="a.txt", **settings):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(TextSettings(path=str(tmp_path / name), **settings))

    return read_file


def test_documents_between_separator_lines(plain):
    text = "one\n\nstill one\n<|endoftext|>\ntwo\n <|endoftext|> \nthree"
    result = plain(text)
    assert result.texts == ["one\n\nstill one", "two", "three"]
    assert [document.id for document in result.documents] == ["a.txt#0", "a.txt#1", "a.txt#2"]


def test_separators_at_the_ends_make_no_documents(plain):
    assert plain("<|endoftext|>\none\n<|endoftext|>\n\n").texts == ["one"]
    assert plain(" \n<|endoftext|>\none\n").texts == ["one"]


def test_nothing_between_two_separators_is_an_empty_document(plain):
    assert plain("one\n<|endoftext|>\n<|endoftext|>\ntwo").texts == ["one", "", "two"]


def test_a_separator_inside_a_line_is_no_sign_for_auto(plain):
    assert plain("it says <|endoftext|> here").texts == ["it says <|endoftext|> here"]


def test_an_asked_for_separator_cuts_inside_lines_too(plain):
    result = plain("one##two\n##three##", split_by="separator", separator="##")
    assert result.texts == ["one", "two", "three"]


def test_the_sign_for_auto_may_stand_anywhere(plain):
    long = "word " * 120_000
    assert len(plain(f"{long}\n<|endoftext|>\ntwo").texts) == 2
    # The separator lies across the border of two chunks.
    start = "x" * ((1 << 18) - 6)
    assert len(plain(f"{start}\n<|endoftext|>\ntwo").texts) == 2


def test_lines_and_whole_files(plain):
    assert plain("one\n\n \ntwo\n", split_by="lines").texts == ["one", "two"]
    assert plain("\none\n\ntwo\n", split_by="file").texts == ["one\n\ntwo"]


def test_passages_are_whole_paragraphs(plain):
    paragraphs = [f"paragraph {n} " + "x" * 50 for n in range(10)]
    result = plain("\n\n".join(paragraphs), passage_chars=120)
    assert result.texts == ["\n\n".join(paragraphs[at : at + 2]) for at in range(0, 10, 2)]


def test_text_without_blank_lines_is_cut_at_line_ends(plain):
    lines = [f"line {n:03}" for n in range(100)]
    result = plain("\n".join(lines), passage_chars=100)
    assert "\n".join(result.texts).split("\n") == lines
    assert all(200 <= len(text) + 1 < 220 for text in result.texts[:-1])


def test_a_huge_line_is_cut_at_spaces(plain):
    words = " ".join(f"word{n}" for n in range(5000))
    result = plain(words, passage_chars=100)
    assert "".join(result.texts) == words
    assert all(text.endswith(" ") and len(text) <= 1600 for text in result.texts[:-1])


PARAGRAPHS = st.lists(st.text("ab \n", max_size=30), max_size=30)


@given(PARAGRAPHS, st.integers(1, 60))
def test_passages_lose_nothing_but_blank_space(paragraphs, passage_chars):
    text = "\n\n".join(paragraphs)
    lines = [Lines(line, True) for line in text.split("\n")]
    found = list(by_passage(lines, passage_chars))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(passage.strip() for passage in found)


@given(PARAGRAPHS, PARAGRAPHS, st.integers(1, 60))
def test_what_follows_a_passage_does_not_change_it(first, second, passage_chars):
    def cut(paragraphs):
        lines = "\n\n".join(paragraphs).split("\n")
        return list(by_passage([Lines(line, True) for line in lines], passage_chars))

    alone, together = cut(first), cut([*first, *second])
    assert together[: max(len(alone) - 1, 0)] == alone[:-1]


SCRAPS = st.lists(
    st.sampled_from(
        ["a", "word ", " ", "\n", "\n", "\n\n", "\r\n", "##", "\n##\n", "\xa0", "\x1c"]
    ),
    max_size=60,
)


@given(SCRAPS, st.integers(1, 30), st.integers(1, 20), st.integers(4, 40))
def test_lines_together_are_lines_one_by_one(scraps, chunk_bytes, most_chars, passage_chars):
    data = "".join(scraps).encode()
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    together = list(decode_blocks(split_blocks(chunks, passage_chars)))
    alone = [Lines(text, e, s) for many, e, s in together for text in many.split("\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "MAX_DOCUMENT_CHARS", 3 * most_chars)
        for cut in (
            lambda lines: chunking.by_passage(lines, most_chars),
            lambda lines: chunking.by_separator(lines, "##"),
            chunking.by_line,
            chunking.by_file,
        ):
            assert list(cut(together)) == list(cut(alone))


def test_another_file_changes_nothing(tmp_path, read):
    settings = TextSettings(path=str(tmp_path), passage_chars=20)
    (tmp_path / "b.txt").write_text("one paragraph\n\n" * 9)
    before = read(settings)
    (tmp_path / "a.txt").write_text("something else\n\n" * 5)
    after = read(settings)
    assert before.documents == [d for d in after.documents if d.id.startswith("b.txt#")]
    assert before.parts[0] in after.parts


def test_line_ends_and_marks_are_made_alike(plain):
    windows = b"\xef\xbb\xbfone\r\n\r\ntwo\r\n"
    assert plain(windows, split_by="file").texts == ["one\n\ntwo"]
    assert plain(windows, split_by="lines").texts == ["one", "two"]


def test_null_bytes_are_text(plain):
    assert plain(b"a\x00b", split_by="lines").texts == ["a\x00b"]


@pytest.mark.parametrize("broken", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_broken_utf8_costs_one_document(plain, broken):
    lines = b"one\ntw" + broken + b"o\nthree"
    result = plain(lines, split_by="lines")
    assert result.texts == ["one", "three"]
    assert result.items[1] == Dropped("broken_utf8", "a.txt#1")
    separated = lines.replace(b"\n", b"\n<|endoftext|>\n")
    assert plain(separated).texts == ["one", "three"]
    passages = b"a" * 16 + b"\n\n" + b"b" * 16 + broken + b"\n\n" + b"c" * 16
    result = plain(passages, passage_chars=16)
    assert result.texts == ["a" * 16, "c" * 16]
    assert result.dropped == {"broken_utf8": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_that_says_its_encoding_is_read(plain, encoding):
    assert plain("été\n\n文字 🙂".encode(encoding)).texts == ["été\n\n文字 🙂"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_text_in_another_encoding_that_does_not_say_so(plain, encoding):
    text = ("été à la plage\n\n" * 99).encode(encoding)
    assert plain(text).items[-1] == Dropped("not_utf8", "a.txt")


def test_a_cut_file_keeps_what_could_be_read(tmp_path, read):
    text = "".join(f"story {n}\n<|endoftext|>\n" for n in range(20_000))
    whole = gzip.compress(text.encode())
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    result = read(TextSettings(path=str(tmp_path)))
    assert result.dropped == {"truncated": 1}
    assert len(result.texts) > 1000
    assert result.texts[:-1] == [f"story {n}" for n in range(len(result.texts) - 1)]


def test_a_part_that_is_gone_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    settings = TextSettings(path=str(tmp_path))
    part = open_source("mine", settings).slices()[0]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(YxanulError, match=r"a\.txt cannot be opened"):
        list(prepared(open_source("mine", settings), part))


def test_many_small_files_make_few_parts(tmp_path, read):
    for number in range(600):
        (tmp_path / f"{number:03}.txt").write_text(f"note {number}")
    result = read(TextSettings(path=str(tmp_path)))
    assert result.texts == [f"note {number}" for number in range(600)]
    assert len(result.parts) < 30
    first = result.parts[0].fingerprint
    (tmp_path / "000.txt").write_text("another text")
    changed = read(TextSettings(path=str(tmp_path))).parts
    assert changed[0].fingerprint != first
    assert changed[1:] == result.parts[1:]


def write_blocks(path, block, times):
    with open(path, "wb") as file:
        for _ in range(times):
            file.write(block)


@pytest.mark.parametrize("block", [b"word " * 20_000, b"x" * 100_000])
@pytest.mark.parametrize("split_by", ["auto", "lines"])
def test_a_file_of_one_shape_streams(tmp_path, peak_bytes, block, split_by):
    write_blocks(tmp_path / "a.txt", block, 300)
    source = open_source("mine", TextSettings(path=str(tmp_path), split_by=split_by))
    (part,) = source.slices()
    with peak_bytes() as peak:
        chars = sum(len(document.text) for document in source.read(part))
    assert chars == 300 * len(block)
    assert peak.bytes < 16_000_000


def test_blank_lines_are_not_gathered(peak_bytes):
    lines = [Lines("", True)] * 200_000
    with peak_bytes() as peak:
        assert list(by_passage(lines, 100)) == []
    assert peak.bytes < 100_000


def test_plain_text_has_no_scores(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    filters = ({"kind": "score", "column": "score", "at_least": 3},)
    with pytest.raises(YxanulError, match="no column 'score'"):
        open_source("mine", TextSettings(path=str(tmp_path), filters=filters)).slices()


def test_documents_of_the_shared_data(shared_data, read):
    stories = shared_data / "stories" / "tinystories.txt"
    result = read(TextSettings(path=str(stories)))
    raw = stories.read_text()
    assert len(result.texts) == raw.count("\n<|endoftext|>\n") == 5720
    assert result.texts == [t.strip("\n") for t in raw.split("<|endoftext|>\n")[:-1]]
    articles = shared_data / "wiki" / "articles_30.txt"
    result = read(TextSettings(path=str(articles), split_by="lines"))
    assert result.texts == articles.read_text().splitlines()
    assert len(result.texts) == 30


def test_passages_of_the_shared_data(shared_data, read):
    path = shared_data / "wiki" / "wikitext2_valid.txt"
    result = read(TextSettings(path=str(path)))
    assert "".join("".join(result.texts).split()) == "".join(path.read_text().split())
    longest_line = max(map(len, path.read_text().splitlines()))
    assert all(4000 < len(text) + 4 < 8000 + longest_line for text in result.texts[:-1])
