"""Files of several kinds in one source, what is held out of them, and files that cannot be read."""

import bz2
import csv
import gzip
import json
import lzma
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.documents import Dropped
from yxanul.text.prepare import prepared, split_parts
from yxanul.text.sources import open_source

BOOK = "\n\n".join(f"Paragraph {n}: " + f"the fox met hen {n * 7 % 41}. " * 4 for n in range(900))
PAGE = """<html><head><title>The fox</title><style>p {}</style></head><body>
<h1>One</h1><p>The <b>fox</b> &amp; the
hen.<br>And <i>more</i>.</p><script>bad()</script><ul><li>a<li>b</ul><pre>x  y
z</pre><table><tr><td>1<td>2</table>"""


def split_of(path, fraction=0.02, **settings):
    """The documents of a path by their side of the split, with the causes of what is dropped."""
    source = open_source("mine", TextSettings(path=str(path), **settings))
    sides = {"train": [], "validation": [], "dropped": []}
    for part in split_parts(source, fraction):
        for item in prepared(source, part):
            if isinstance(item, tuple):
                sides[item[0]].append(item[1].text)
            else:
                sides["dropped"].append(item.cause)
    return sides


@pytest.fixture
def folder(tmp_path):
    rows = [{"id": n, "text": f"row {n} of json"} for n in range(3)]
    (tmp_path / "a.txt").write_text("plain text")
    (tmp_path / "README").write_text("text without a suffix")
    (tmp_path / "b.py").write_text("x = 1")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (tmp_path / "conf.json").write_text(json.dumps({"a": 1}, indent=1))
    pq.write_table(pa.table({"text": ["row of parquet"]}), tmp_path / "d.parquet")
    (tmp_path / "page.html").write_text(PAGE)
    with open(tmp_path / "e.csv", "w", newline="") as file:
        csv.writer(file).writerows([["n", "review"], [1, 'two\nlines, "quoted"'], [2, "film"]])
    (tmp_path / "f.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "g.bin").write_bytes(bytes(range(256)) * 9)
    return tmp_path


def test_each_file_is_read_as_what_it_is(folder, read):
    result = read(TextSettings(path=str(folder)))
    assert sorted(result.texts) == sorted(
        ["plain text", "text without a suffix", "x = 1", '{\n "a": 1\n}', "row of parquet", "film",
         'two\nlines, "quoted"', *(f"row {n} of json" for n in range(3)),
         "The fox\n\nOne\n\nThe fox & the hen.\nAnd more.\n\na\nb\n\nx  y\nz\n\n1 2"]
    )  # fmt: skip
    assert not result.dropped
    assert result.notes[0].startswith("files: 4 text, 1 html, 1 jsonl, 1 csv, 1 parquet")
    assert "1 .pdf, 1 .bin" in result.notes[0]
    limited = read(TextSettings(path=str(folder), limit=6))
    assert limited.texts == result.texts[:6]
    assert len(limited.parts) == 1
    sides = split_of(folder, limit=6)
    assert sorted(sides["train"] + sides["validation"]) == sorted(result.texts[:6])


def test_suffixes_that_are_given_choose(folder, read):
    assert read(TextSettings(path=str(folder), suffixes=(".py",))).texts == ["x = 1"]


def test_columns_are_named_as_for_rows_alone(folder, read):
    (folder / "e.csv").write_text("text,review\nno,yes\n")
    one = TextSettings(path=str(folder / "e.csv"), template="{review}!")
    assert read(one).texts == ["yes!"]
    with pytest.raises(YxanulError, match="has no columns"):
        read(TextSettings(path=str(folder / "a.txt"), text_column="text"))


def test_text_alone_is_nothing_to_tell_of(tmp_path, read):
    (tmp_path / "a.txt").write_text("one")
    assert read(TextSettings(path=str(tmp_path))).notes == []


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-8", "utf-16", "no-such-charset", "base64"])
def test_a_page_says_its_encoding(tmp_path, read, charset):
    page = f"<meta charset='{charset}'><p>été à la plage"
    path = tmp_path / "a.html"
    path.write_bytes(page.encode(charset if charset == "iso-8859-1" else "utf-8"))
    assert read(TextSettings(path=str(path))).texts == ["été à la plage"]


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [("iso-8859-1", b"\x93hi\x94", "\u201chi\u201d"), ("gb2312", "镕".encode("gbk"), "镕")],
)
def test_an_encoding_is_what_browsers_take_it_for(tmp_path, read, charset, content, text):
    path = tmp_path / "a.html"
    path.write_bytes(f"<meta charset={charset}><p>".encode() + content)
    assert read(TextSettings(path=str(path))).texts == [text]


@pytest.mark.parametrize("section", ["<![foo]>", "<![ endif]>", "<![if !IE]>", "<![CDATA[x]]>"])
def test_sections_of_no_html_are_left_out(tmp_path, read, section):
    path = tmp_path / "a.html"
    path.write_text(f"<p>one{section} two")
    assert read(TextSettings(path=str(path))).texts == ["one two"]


def test_a_page_in_chunks_is_the_page(tmp_path, read, monkeypatch):
    (tmp_path / "a.html").write_text(PAGE)
    whole = read(TextSettings(path=str(tmp_path))).texts
    monkeypatch.setattr("yxanul.text.sources.decompress.CHUNK_BYTES", 3)
    assert read(TextSettings(path=str(tmp_path))).texts == whole


@pytest.mark.parametrize("name", ["book.txt", "book.txt.gz", "book"])
def test_a_tenth_of_a_short_book_is_held_out_in_one_run(tmp_path, name):
    packed = gzip.compress(BOOK.encode()) if name.endswith(".gz") else BOOK.encode()
    (tmp_path / name).write_bytes(packed)
    sides = split_of(tmp_path)
    held_out = "\n\n".join(sides["validation"])
    assert held_out in BOOK
    assert 0.09 < len(held_out) / len(BOOK) < 0.11
    before, after = BOOK.split(held_out)
    trained = "\n\n".join(sides["train"])
    assert trained == "\n\n".join(filter(None, (before.strip("\n"), after.strip("\n"))))


def test_copies_of_a_file_have_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("yxanul.text.sources.plain_text.SPAN_BYTES", 2000)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(BOOK)
    sides = split_of(tmp_path, fraction=0.2, passage_chars=100)
    assert len(set(sides["validation"])) * 3 == len(sides["validation"])
    assert not set(sides["train"]) & set(sides["validation"])
    assert 0.1 < len(sides["validation"]) / len(sides["train"]) < 0.4


def test_other_files_change_nothing_of_what_is_held_out_of_a_large_text(tmp_path, monkeypatch):
    monkeypatch.setattr("yxanul.text.sources.plain_text.SPAN_BYTES", 1000)
    settings = {"fraction": 0.2, "passage_chars": 50}
    (tmp_path / "b.txt").write_text(BOOK)
    alone = split_of(tmp_path / "b.txt", **settings)
    (tmp_path / "a.txt").write_text(BOOK[::-1])
    together = split_of(tmp_path, **settings)
    assert set(alone["validation"]) <= set(together["validation"])
    assert set(alone["train"]) <= set(together["train"])


def test_ranges_of_a_large_file_hold_out_what_the_whole_does(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(BOOK)
    whole = split_of(tmp_path)
    monkeypatch.setattr("yxanul.text.sources.byte_ranges.RANGE_BYTES", 20_000)
    ranges = split_of(tmp_path)
    assert "".join("".join(ranges["validation"]).split()) in "".join(BOOK.split())
    assert "".join(whole["validation"]).split() == "".join(ranges["validation"]).split()


def test_text_without_a_place_to_cut_still_holds_one_out(tmp_path):
    (tmp_path / "a.txt").write_text("word " * 50_000)
    assert len(split_of(tmp_path)["validation"]) == 1


def test_one_of_a_few_documents_is_held_out(tmp_path):
    rows = [json.dumps({"text": f"document {n}"}) for n in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert len(split_of(tmp_path, fraction=1e-9)["validation"]) == 1
    (tmp_path / "a.jsonl").write_text("\n".join([rows[0]] * 20))
    with pytest.raises(YxanulError, match="no document left"):
        split_of(tmp_path, fraction=1 - 1e-9)
    (tmp_path / "a.jsonl").write_text(rows[0])
    with pytest.raises(YxanulError, match="only one document"):
        split_of(tmp_path)


PACKED = gzip.compress(BOOK.encode())
BROKEN = {
    "cut.txt.gz": (PACKED[:500], "cut.txt.gz is truncated"),
    "cut.jsonl.gz": (gzip.compress(b'{"text": "a b"}\n' * 99)[:-9], "cut.jsonl.gz is truncated"),
    "cut.txt.bz2": (bz2.compress(BOOK.encode())[:-90], "cut.txt.bz2 is truncated"),
    "plain.txt.gz": (BOOK.encode(), "plain.txt.gz cannot be decompressed"),
    "cut.txt": (PACKED[:500], "cut.txt is truncated"),
    "twice.txt.gz": (gzip.compress(PACKED), "twice.txt.gz is not text"),
    "doc.txt": (b"%PDF-1.4\n" + BOOK.encode(), "doc.txt is not text"),
    "latin.txt": (BOOK.replace("hen", "hén").encode("latin-1"), "latin.txt is not UTF-8 text"),
    "utf16.txt": (BOOK.encode("utf-16-le"), "utf16.txt is not UTF-8 text"),
    "random.txt": (os.urandom(9000), "random.txt is not UTF-8 text"),
    "zero.parquet": (b"", "zero.parquet is truncated"),
    "no.parquet": (BOOK.encode(), "no.parquet cannot be"),
    "no.jsonl": (b"no json\n" * 9, "no.jsonl:1 is not a JSON object"),
    "nested.jsonl": (b'{"data": {"text": "x"}}\n' * 9, "got data; move the nested text"),
    "numbers.csv": (b"a,b\n1,2\n3,4\n", "no column that holds text; got a, b"),
    "empty.txt": (b"", r"no usable document in .*empty\.txt"),
    "blank.txt": (b" \n\t\n" * 99, r"no usable document in .*blank\.txt"),
    "a.zip": (b"PK\x03\x04", "nothing that"),
    "a.docx": (b"PK\x03\x04", "nothing that"),
    "blob": (bytes(range(256)) * 9, "nothing that"),
}


@pytest.mark.parametrize("name", ["book.txt", "book", "book.txt.xz"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_one_whatever_its_name(tmp_path, name, pack, monkeypatch):
    (tmp_path / "book.txt").write_text(BOOK)
    plain = split_of(tmp_path / "book.txt")
    (tmp_path / "book.txt").unlink()
    (tmp_path / name).write_bytes(pack(BOOK.encode()))
    monkeypatch.setattr("yxanul.text.sources.byte_ranges.RANGE_BYTES", 500)
    packed = split_of(tmp_path / name)
    assert "".join(packed["train"]).split() == "".join(plain["train"]).split()
    rows = "\n".join(json.dumps({"text": text}) for text in plain["train"])
    (tmp_path / "rows.jsonl").write_bytes(pack(rows.encode()))
    rows = split_of(tmp_path / "rows.jsonl")
    assert sorted(rows["train"] + rows["validation"]) == sorted(plain["train"])


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_named_with_its_cause(tmp_path, name):
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(YxanulError, match=said):
        split_of(tmp_path / name)


def test_what_can_be_read_of_a_broken_file_is_taken_where_that_is_allowed(tmp_path):
    (tmp_path / "a.txt").write_text(BOOK)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(BOOK[::-1].encode())[:3000])
    with pytest.raises(YxanulError, match=r"on_bad_file=drop"):
        list(split_of(tmp_path))
    sides = split_of(tmp_path, on_bad_file="drop")
    assert sides["dropped"] == ["truncated"]
    assert len(sides["train"]) > 10


def test_broken_bytes_in_the_middle_cost_one_passage(tmp_path):
    (tmp_path / "a.txt").write_bytes(BOOK.encode()[:50_000] + b"\xff" + BOOK.encode()[50_000:])
    assert split_of(tmp_path)["dropped"] == ["broken_utf8"]


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text(BOOK)
    source = open_source("mine", TextSettings(path=str(tmp_path)))
    (part,) = source.slices()
    items = source.read(part)
    next(items)
    with open(tmp_path / "a.txt", "a") as file:
        file.write("more")
    with pytest.raises(YxanulError, match="changed"):
        list(items)


def test_what_is_no_file_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link.txt").symlink_to("gone.txt")
    for name, said in (("pipe", "is a pipe"), ("loop", "broken link"), ("link.txt", "gone.txt")):
        with pytest.raises(YxanulError, match=said):
            split_of(tmp_path / name)
    (tmp_path / "to-pipe").symlink_to("pipe")
    with pytest.raises(YxanulError, match=r"to-pipe .*pipe"):
        split_of(tmp_path / "to-pipe")
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(YxanulError, match=r"a\.txt is a file"):
        split_of(tmp_path / "a.txt" / "b")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(YxanulError, match="File name too long"):
        split_of(tmp_path / ("x" * 300))
    with pytest.raises(YxanulError, match=r"link\.txt cannot be opened"):
        split_of(tmp_path)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_cells_of_a_csv_file_may_be_separated_otherwise(tmp_path, read, sign):
    path = tmp_path / "a.csv"
    path.write_text(f'n{sign}text\n1{sign}"a film, and {sign} more"\n2{sign}tales\n')
    assert read(TextSettings(path=str(path))).texts == [f"a film, and {sign} more", "tales"]
    path.write_text(f"n,text\n1,a {sign} film\n")
    assert read(TextSettings(path=str(path))).texts == [f"a {sign} film"]


def test_a_bad_row_of_a_csv_file_is_dropped_alone(tmp_path, read):
    path = tmp_path / "a.csv"
    rows = [
        "",
        "n,text",
        "1,one",
        '2,"two"x',
        r'3,"said \"hi\""',
        "4,four, five",
        "5,six,",
        "7",
        "8,ten",
    ]
    path.write_text("\n".join(rows))
    result = read(TextSettings(path=str(path)))
    assert result.texts == ["one", "six", "ten"]
    assert result.dropped == {"bad_csv": 3, "missing_column": 1}
    places = [item.where for item in result.items if isinstance(item, Dropped)]
    assert places[:3] == ["a.csv:4", "a.csv:5", "a.csv:6"]


def test_lines_of_a_csv_file_end_in_any_way(tmp_path, read):
    path = tmp_path / "a.csv"
    for end in ("\n", "\r\n", "\r"):
        path.write_bytes(f'n,text{end}1,"two{end}lines"{end}2,film'.encode())
        assert read(TextSettings(path=str(path))).texts == [
            f"two{end}lines".replace("\r\n", "\n"),
            "film",
        ]
    path.write_bytes(b"n,text\n" + b"1,film\n" * 99 + b"2,t\xff\n" + b"1,film\n" * 99)
    assert read(TextSettings(path=str(path))).texts == ["film"] * 99
    assert read(TextSettings(path=str(path))).dropped == {"not_utf8": 1}
    path.write_bytes(b'n,text\n1,film\n2,"cut')
    assert read(TextSettings(path=str(path))).dropped == {"truncated": 1}
