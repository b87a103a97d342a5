import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from yxanul.text.sources.bytestream import ByteStream, split_lines

WORDS = b"".join(b"word %d and its friends\n" % n for n in range(50_000))


def packed(kind: str, data: bytes) -> bytes:
    if kind == ".gz":
        return gzip.compress(data, 1)
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.fixture(params=[".gz", ".zst"])
def kind(request):
    return request.param


def read_stream(path):
    stream = ByteStream(path)
    return b"".join(stream), stream.problem


def test_packed_files_are_unpacked(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    path.write_bytes(packed(kind, WORDS))
    assert read_stream(path) == (WORDS, None)


def test_several_streams_in_one_file(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    path.write_bytes(packed(kind, WORDS) + packed(kind, b"") + packed(kind, b"the end"))
    assert read_stream(path) == (WORDS + b"the end", None)


def test_a_cut_file_gives_what_is_there(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    whole = packed(kind, WORDS)
    path.write_bytes(whole[: len(whole) // 2])
    data, problem = read_stream(path)
    assert problem == "truncated"
    assert len(data) > len(WORDS) // 10
    assert WORDS.startswith(data)


def test_a_damaged_file_gives_what_stands_before(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    whole = bytearray(packed(kind, WORDS))
    for at in range(len(whole) // 2, len(whole) // 2 + 200):
        whole[at] ^= 0x5A
    path.write_bytes(whole)
    data, problem = read_stream(path)
    assert problem == "corrupt"
    assert data[:1000] == WORDS[:1000]


def test_a_file_that_is_not_packed_at_all(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    path.write_bytes(b"just text")
    assert read_stream(path) == (b"", "corrupt")


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path):
    assert read_stream(tmp_path / "none") == (b"", "unreadable")


def test_the_byte_order_mark_goes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfhello \xef\xbb\xbf")
    assert read_stream(path) == (b"hello \xef\xbb\xbf", None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_named(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("plain words".encode(encoding))
    assert read_stream(path) == (b"", "not_utf8")


def test_a_file_that_unpacks_to_much_needs_little_memory(tmp_path, kind, peak_bytes):
    path = tmp_path / f"a.txt{kind}"
    with gzip.open(path, "wb") if kind == ".gz" else zstandard.open(path, "wb") as file:
        for _ in range(40):
            file.write(WORDS)
    with peak_bytes() as peak:
        total = sum(map(len, ByteStream(path)))
    assert total == 40 * len(WORDS) > 50_000_000
    assert peak.bytes < 12_000_000


LINES = st.lists(
    st.sampled_from([b"a", b" ", b"\n", b"\r\n", "é€🙂".encode(), b"\xff"]), max_size=60
)


@given(LINES, st.integers(1, 9), st.integers(4, 20))
def test_pieces_of_lines_do_not_depend_on_chunks(pieces, chunk_bytes, max_bytes):
    data = b"".join(pieces)
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    lines = list(split_lines(chunks, max_bytes))
    assert lines == list(split_lines([data] if data else [], max_bytes))
    joined = b"".join(line + b"\n" * ends for line, ends in lines)
    expected = data if data.endswith(b"\n") or not data else data + b"\n"
    assert joined.replace(b"\r\n", b"\n") == expected.replace(b"\r\n", b"\n")
    assert all(len(line) <= max_bytes for line, _ in lines)


def test_a_long_line_is_cut_after_spaces():
    lines = list(split_lines([b"one two three four\nfive"], 10))
    assert lines == [(b"one two ", False), (b"three four", True), (b"five", True)]


def test_a_long_line_without_spaces_is_cut_between_characters():
    pieces = [line for line, _ in split_lines(["€".encode() * 10], 8)]
    assert [piece.decode() for piece in pieces] == ["€€"] * 5
