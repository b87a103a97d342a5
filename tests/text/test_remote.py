"""Files behind addresses: memory://, and a web server on 127.0.0.1 that fails on purpose."""

import bz2
import gzip
import io
import json
import random
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.registry import known_implementations

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings, ParquetSettings, TextSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import byte_ranges, open_source, remote, retry
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.remote import RemoteFile
from yxanul.text.sources.retry import is_transient, to_user_error
from yxanul.text.sources.rows import JsonReader


@dataclass
class Web:
    """What the server has and how it behaves; `faults` are used up one by one."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    always: str = ""
    ranges: bool = True
    marked: bool = True
    sized: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""
    spoke: threading.Event = field(default_factory=threading.Event)

    def gets(self):
        return [span for method, span in self.asked if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(None)

    def answer(self, body):
        web, path = self.web, self.path.partition("?")[0]
        span = self.headers.get("Range", "")
        web.asked.append((self.command, span))
        fault = web.always
        if not fault and web.faults and self.command == "GET":
            fault = web.faults.pop(0)
        if path.endswith("/") and not fault:
            links = "".join(
                f'<a href="{name[len(path) :]}">x</a>'
                for name in web.files
                if name.startswith(path)
            )
            return self.send(200, f"<html>{links}</html>".encode(), {}, body)
        if fault.isdigit() or path not in web.files:
            return self.send(int(fault or 404), b"no", {}, body)
        if fault == "silent":
            web.spoke.wait(60)
        self.send_file(web.files[path], span, fault, body)

    def send_file(self, data, span, fault, body):
        web = self.web
        headers = {"ETag": f'"{hash(data)}"'} if web.marked else {}
        status = 200
        if web.ranges and span:
            first, last = span.removeprefix("bytes=").split("-")
            first, last = int(first), min(int(last), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        if fault == "cut":
            self.send(status, data[: len(data) // 2], headers, body, claimed=len(data))
            self.close_connection = True
            return
        self.send(status, data, headers, body)

    def send(self, status, data, headers, body, claimed=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.web.sized or status != 200:
            self.send_header("Content-Length", str(claimed or len(data)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
            data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
        self.end_headers()
        try:
            self.wfile.write(data if body is None else body)
        except OSError:
            self.close_connection = True


@pytest.fixture
def web(monkeypatch):
    """A server of one's own; between two tries there is no waiting."""
    monkeypatch.setattr(retry, "WAITS_SECONDS", (0.0, 0.01, 0.01))
    monkeypatch.setattr(remote, "BUFFER_BYTES", 1 << 16)
    web = Web()
    handler = type("BoundHandler", (Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # who asks may hang up
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    web.address = f"http://127.0.0.1:{server.server_port}"
    yield web
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def memory():
    """The memory file system, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


ROWS = [{"text": f"document {n} été " + "x" * (n % 97)} for n in range(4000)]
LINES = "\n".join(map(json.dumps, ROWS)).encode() + b"\n"
TEXTS = [row["text"] for row in ROWS]


def parquet_bytes(**columns):
    raw = io.BytesIO()
    pq.write_table(pa.table(columns), raw, row_group_size=500)
    return raw.getvalue()


def kinds():
    """All three kinds of files; each gives TEXTS."""
    plain = "\n<|endoftext|>\n".join(TEXTS).encode()
    return {
        "a.jsonl": (JsonlSettings, LINES),
        "a.jsonl.gz": (JsonlSettings, gzip.compress(LINES)),
        "a.txt.bz2": (TextSettings, bz2.compress(plain)),
        "a.txt": (TextSettings, plain),
        "a.parquet": (ParquetSettings, parquet_bytes(text=TEXTS, n=list(range(4000)))),
    }


@pytest.mark.parametrize("name", list(kinds()))
def test_a_file_in_memory(memory, read, name):
    settings, data = kinds()[name]
    memory.pipe(f"/set/{name}", data)
    result = read(settings(path=f"memory://set/{name}"))
    assert result.texts == TEXTS
    assert not result.dropped
    assert result.documents[0].id.startswith(f"{name}#0")


def test_folders_and_globs_in_memory(memory):
    for name in ("b.txt", "a.md", "sub/c.TXT", "sub/.hidden.txt", ".git/d.txt", "e.py", "f.txt.xz"):
        memory.pipe(f"/set/{name}", b"x")

    def names(*arguments):
        return [file.name for file in find_files(*arguments)]

    assert names("memory://set", (".txt", ".md")) == ["a.md", "b.txt", "f.txt.xz", "sub/c.TXT"]
    assert names("memory://set/e.py", (".txt",)) == ["e.py"]
    assert names("memory://set/*.txt", ()) == ["b.txt"]
    assert names("memory://set/**/*.TXT", ()) == ["sub/c.TXT"]
    with pytest.raises(YxanulError, match=r"memory://set/\*\.xyz"):
        find_files("memory://set/*.xyz", ())
    with pytest.raises(YxanulError, match="no file or folder memory://nowhere"):
        find_files("memory://nowhere", ())
    with pytest.raises(YxanulError, match=r"got a\.md.* and 2 more; expected.*\.parquet"):
        find_files("memory://set", (".parquet",))


def test_a_changed_remote_file_has_another_fingerprint(memory):
    memory.pipe("/a.txt", b"one")
    (before,) = find_files("memory://a.txt", ())
    assert find_files("memory://a.txt", ()) == [before]
    memory.pipe("/a.txt", b"two")
    (after,) = find_files("memory://a.txt", ())
    assert before.fingerprint != after.fingerprint
    assert before.size_bytes == after.size_bytes == 3


def test_an_address_of_this_machine_is_a_path(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (file,) = find_files(f"file://{tmp_path}/a.txt", ())
    assert not file.is_remote


def test_addresses_that_nobody_knows(monkeypatch):
    with pytest.raises(YxanulError, match="Protocol not known: nonsense"):
        find_files("nonsense://a.txt", ())
    monkeypatch.setitem(known_implementations, "nope", {"class": "nopefs.Nope", "err": "no nopefs"})
    with pytest.raises(YxanulError, match=r"'nopefs' .*pip install"):
        find_files("nope://a.txt", ())
    monkeypatch.setitem(known_implementations, "s3x", {"class": "s3fs_.X", "err": "install s3fs"})
    monkeypatch.setattr(retry, "EXTRAS", {"s3fs_": "data"})
    with pytest.raises(YxanulError, match=r"'s3fs_' .*'yxanul\[data\]'"):
        find_files("s3x://a.txt", ())


class NoCredentialsError(Exception):
    """Named like the error of S3 clients."""


class ClientError(Exception):
    """The error of S3 clients: the answer is a dictionary."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "transient", "said"),
    [
        (NoCredentialsError("none"), False, "no permission.*AWS_ACCESS_KEY_ID"),
        (ClientError(403), False, "no permission.*FSSPEC_S3_ANON"),
        (ClientError(404), False, "no file or folder s3://b/a"),
        (ClientError(503), True, "not be read"),
        (TimeoutError(), True, "TimeoutError, after 4 tries"),
        (PermissionError("no"), False, "no permission"),
        (FileNotFoundError("a"), False, "no file"),
    ],
)
def test_errors_of_other_libraries(web, error, transient, said):
    assert is_transient(error, "s3://b/a") == transient
    assert re.search(said, str(to_user_error(error, "s3://b/a")))


@pytest.mark.parametrize("name", list(kinds()))
@pytest.mark.parametrize("faults", [[], ["500", "503", "cut", ""], ["cut", "", "cut", "", "429"]])
def test_a_file_of_a_server_that_fails_at_times(web, read, name, faults):
    settings, web.files[f"/{name}"] = kinds()[name]
    web.faults = faults * 3
    result = read(settings(path=f"{web.address}/{name}"))
    assert result.texts == TEXTS
    assert not result.dropped


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("faults", [[], ["500", "", "cut", "500"]])
def test_a_server_without_ranges(web, read, sized, faults):
    web.ranges, web.sized, web.faults = False, sized, faults
    for name in ("a.jsonl", "a.jsonl.gz"):
        settings, web.files[f"/{name}"] = kinds()[name]
        result = read(settings(path=f"{web.address}/{name}"))
        assert result.texts == TEXTS
        assert len(result.parts) == 1
    web.files["/a.parquet"] = kinds()["a.parquet"][1]
    with pytest.raises(YxanulError, match="only whole files"):
        read(ParquetSettings(path=f"{web.address}/a.parquet"))


def test_a_fault_that_stays_is_an_error_and_no_end_of_the_file(web, read):
    web.files["/a.jsonl"] = LINES
    source = open_source("mine", JsonlSettings(path=f"{web.address}/a.jsonl"))
    (part,) = source.slices()
    for always in ("500", "cut"):
        items = source.read(part)
        web.always = ""
        texts = [next(items).text for _ in range(100)]
        web.always = always
        with pytest.raises(YxanulError, match=r"after 4 tries"):
            texts.extend(item.text for item in items)
        assert texts == TEXTS[: len(texts)]


def test_a_fault_that_stays_under_parquet(web):
    rng = random.Random(0)
    texts = [f"{rng.random()}" * 20 for _ in range(4000)]
    web.files["/a.parquet"] = parquet_bytes(text=texts)
    source = open_source("mine", ParquetSettings(path=f"{web.address}/a.parquet"))
    (part,) = source.slices()
    items = source.read(part)
    assert next(items).text == texts[0]
    web.always = "503"
    with pytest.raises(YxanulError, match=r"not be read"):
        list(items)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("404", "no file or folder"),
        ("403", "no permission"),
        ("400", "cannot be read"),
    ],
)
def test_what_will_not_change_is_said_at_once(web, read, status, said):
    web.files["/a.jsonl"] = LINES
    web.always = status
    with pytest.raises(YxanulError, match=said) as caught:
        read(JsonlSettings(path=f"{web.address}/a.jsonl"))
    assert "\n" not in str(caught.value)
    assert len(web.asked) < 4


def test_a_server_that_is_not_there(web, read):
    with pytest.raises(YxanulError, match=r"check the network"):
        read(JsonlSettings(path="http://127.0.0.1:9/a.jsonl"))


def test_a_silent_server_is_tried_again(web, read, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 1.0)
    web.files["/a.jsonl"] = LINES
    web.faults = ["", "silent"]
    assert read(JsonlSettings(path=f"{web.address}/a.jsonl")).texts == TEXTS
    assert not web.faults
    web.spoke.set()


def test_pages_of_links_are_folders(web, read):
    web.files = {"/set/a.jsonl": LINES, "/set/b.jsonl": LINES, "/set/c.py": b"x"}
    for path in ("/set/", "/set/*.jsonl"):
        result = read(JsonlSettings(path=web.address + path))
        assert [part.name for part in result.parts] == ["a.jsonl", "b.jsonl"]
        assert result.texts == TEXTS * 2


def test_ranges_of_a_remote_file(web, read, memory, monkeypatch):
    monkeypatch.setattr(byte_ranges, "RANGE_BYTES", 60_000)
    for name in ("a.jsonl", "a.txt"):
        settings, web.files[f"/{name}"] = kinds()[name]
        memory.pipe(f"/{name}", web.files[f"/{name}"])
        for path in (f"{web.address}/{name}", f"memory://{name}"):
            result = read(settings(path=path))
            assert result.texts == TEXTS
            assert len(result.parts) > 4
    web.ranges = False
    assert len(read(settings(path=f"{web.address}/{name}")).parts) == 1


def test_a_range_asks_for_little_more_than_itself(web, monkeypatch):
    data = LINES * 20
    monkeypatch.setattr(byte_ranges, "RANGE_BYTES", len(data) // 4)
    web.files["/a.jsonl"] = data
    source = open_source("mine", JsonlSettings(path=f"{web.address}/a.jsonl"))
    part = source.slices()[2]
    web.asked.clear()
    assert sum(1 for _ in source.read(part)) > 10_000
    asked = [span.removeprefix("bytes=").split("-") for span in web.gets()]
    total = sum(int(last) - int(first) + 1 for first, last in asked)
    assert total < len(data) // 4 + 8 * (1 << 16)


def test_a_file_that_changes_while_it_is_read(web):
    web.files["/a.jsonl"] = LINES
    source = open_source("mine", JsonlSettings(path=f"{web.address}/a.jsonl"))
    items = source.read(source.slices()[0])
    next(items)
    web.files["/a.jsonl"] = LINES[::-1]
    web.faults = ["500"]
    with pytest.raises(YxanulError, match="changed"):
        list(items)


def test_waiting_between_tries(web, monkeypatch):
    web.files["/a"] = b"x" * 100
    (file,) = find_files(f"{web.address}/a", ())
    waits = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    raw = RemoteFile(file.address, file.size_bytes, file.fingerprint)
    web.faults = ["500", "cut"]
    with raw:
        assert raw.read(50) == b"x" * 3
        assert raw.read() == b"x" * 97
    assert waits == [0.0, 0.01]


def test_damaged_remote_content_is_counted(memory, read):
    memory.pipe("/a.jsonl.gz", gzip.compress(LINES)[:-5000])
    result = read(JsonlSettings(path="memory://a.jsonl.gz"))
    assert result.dropped == {"truncated": 1}
    assert result.texts == TEXTS[: len(result.texts)]
    memory.pipe("/b.parquet", parquet_bytes(text=TEXTS))
    memory.pipe("/c.parquet", b"PAR1 cut")
    result = read(ParquetSettings(path="memory:///*.parquet"))
    assert result.texts == TEXTS
    assert result.items[-1] == Dropped("truncated", "c.parquet")


def test_memory_stays_bounded(web, peak_bytes, monkeypatch):
    monkeypatch.setattr(byte_ranges, "RANGE_BYTES", 1 << 30)
    web.files["/a.jsonl"] = LINES * 30
    source = open_source("mine", JsonlSettings(path=f"{web.address}/a.jsonl"))
    (part,) = source.slices()
    with peak_bytes() as peak:
        assert sum(isinstance(item, Document) for item in source.read(part)) == 120_000
    # The server is in the same process and holds a range at a time as well.
    assert peak.bytes < 4_000_000
    assert len(web.files["/a.jsonl"]) > 8_000_000


def test_a_reader_takes_files_from_elsewhere(tmp_path):
    (tmp_path / "blob").write_bytes(gzip.compress(LINES))
    file = File("data/train.jsonl.gz", str(tmp_path / "blob"), None, "abc")
    reader = JsonReader("mine", JsonlSettings(path="a set of the hub"), [file])
    (part,) = reader.slices()
    assert (part.name, part.size_bytes) == ("data/train.jsonl.gz", None)
    assert [item.text for item in reader.read(part)] == TEXTS
