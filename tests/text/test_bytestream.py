import bz2
import gzip
import lzma

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from yxanul.text.sources.bytestream import ByteStream, split_blocks, split_lines
from yxanul.text.sources.files import File, local_file

WORDS = b"".join(b"word %d and its friends\n" % n for n in range(50_000))


PACK = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
}
OPEN = {".gz": gzip.open, ".zst": zstandard.open, ".bz2": bz2.open, ".xz": lzma.open}


def packed(kind: str, data: bytes) -> bytes:
    return PACK[kind](data)


@pytest.fixture(params=list(PACK))
def kind(request):
    return request.param


def read_stream(path):
    stream = ByteStream(local_file(path))
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


def test_zeros_may_stand_between_streams_of_xz(tmp_path):
    path = tmp_path / "a.xz"
    path.write_bytes(lzma.compress(b"one") + bytes(8) + lzma.compress(b"two") + bytes(4))
    assert read_stream(path) == (b"onetwo", None)


def test_a_long_window_of_zstd(tmp_path):
    path, parameters = tmp_path / "a.zst", {"window_log": 31, "enable_ldm": True}
    packer = zstandard.ZstdCompressionParameters.from_level(1, **parameters)
    stream = zstandard.ZstdCompressor(compression_params=packer).compressobj()
    path.write_bytes(stream.compress(b"one two") + stream.flush())
    assert read_stream(path) == (b"one two", None)


@pytest.mark.parametrize("rest", [b"no stream at all", b"BZh9 no stream", bytes(3)])
def test_what_follows_a_stream_is_not_passed_over(tmp_path, kind, rest):
    if kind in (".gz", ".xz") and not rest.strip(b"\0"):
        pytest.skip("zeros may follow")
    path = tmp_path / f"a.txt{kind}"
    path.write_bytes(packed(kind, b"text") + rest)
    assert read_stream(path)[0] == b"text"
    assert read_stream(path)[1] in ("corrupt", "truncated")


def test_a_cut_second_stream_is_truncated(tmp_path, kind):
    path = tmp_path / f"a.txt{kind}"
    path.write_bytes(packed(kind, b"text") + packed(kind, WORDS)[:-100])
    data, problem = read_stream(path)
    assert (data[:4], problem) == (b"text", "truncated")


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path):
    stream = ByteStream(File("none", str(tmp_path / "none"), 1, ""))
    assert (list(stream), stream.problem) == ([], "unreadable")


def test_the_byte_order_mark_goes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfhello \xef\xbb\xbf")
    assert read_stream(path) == (b"hello \xef\xbb\xbf", None)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_become_utf_8(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("plain words".encode(encoding))
    assert read_stream(path) == (b"plain words", None)
    path.write_bytes("plain words".encode(encoding)[:-1])
    assert read_stream(path)[1] == "not_utf8"


def test_a_file_that_unpacks_to_much_needs_little_memory(tmp_path, kind, peak_bytes):
    path = tmp_path / f"a.txt{kind}"
    with OPEN[kind](path, "wb") as file:
        for _ in range(40):
            file.write(b" " * len(WORDS))
    assert path.stat().st_size < 200_000
    with peak_bytes() as peak:
        total = sum(map(len, ByteStream(local_file(path))))
    assert total == 40 * len(WORDS) > 50_000_000
    assert peak.bytes < 16_000_000


LINES = st.lists(
    st.sampled_from([b"a", b" ", b"\n", b"\r\n", "é€🙂".encode(), b"\xff"]), max_size=60
)


@given(LINES, st.integers(1, 9), st.integers(4, 20))
def test_pieces_of_lines_do_not_depend_on_chunks(pieces, chunk_bytes, max_bytes):
    data = b"".join(pieces)
    chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    lines = list(split_lines(chunks, max_bytes))
    blocks = list(split_blocks(chunks, max_bytes))
    assert b"".join(block + b"\n" * ends for block, ends in blocks).rstrip() == data.rstrip()
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
