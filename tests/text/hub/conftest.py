"""A stand-in for the hub on 127.0.0.1: as much of its HTTP interface as `load_dataset` needs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "a" * 40
TOKEN = "hf_opensesame"


@dataclass
class Hub:
    """The data sets (files by path), which of them are gated, and how the server behaves."""

    sets: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    busy_answers: int = 0
    requests: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve `hub` while the block runs; yields the address for HF_ENDPOINT."""
    handler = type("BoundHandler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond(self._path())

    def do_HEAD(self) -> None:
        self._respond(self._path())

    def do_POST(self) -> None:
        self._respond(self._path(), self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _respond(self, path: str, body: bytes = b"") -> None:
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.busy_answers > 0:
            self.hub.busy_answers -= 1
            return self._send(503, b"{}")
        match = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(/.*)?", path)
        if not match:
            return self._send(404, b"{}")
        name, rest = match[1], match[2] or ""
        if name not in self.hub.sets:
            return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if name in self.hub.gated and TOKEN not in self.headers.get("Authorization", ""):
            return self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        revision = re.match(r"/(?:resolve|revision|tree|paths-info)/([^/]+)", rest)
        if revision and revision[1] not in ("main", COMMIT):
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        self._answer(name, rest, body)

    def _answer(self, name: str, rest: str, body: bytes) -> None:
        files = self.hub.sets[name]
        kind, _, inside = rest.removeprefix("/").partition("/")
        inside = inside.partition("/")[2]
        if kind == "resolve":
            return self._send_file(files.get(inside))
        if kind == "tree":
            return self._send_json([_entry(path, data) for path, data in sorted(files.items())])
        if kind == "paths-info":
            asked = set(re.findall(r"paths=([^&]+)", unquote(body.decode())))
            found = [_entry(path, data) for path, data in files.items() if path in asked]
            return self._send_json(found)
        siblings = [{"rfilename": path} for path in files]
        self._send_json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    def _send_file(self, data: bytes | None) -> None:
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        self._send(200, data, {"X-Repo-Commit": COMMIT, "ETag": etag})

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def stories(count: int) -> bytes:
    """Return a JSON file of so many numbered stories."""
    return b"".join(
        json.dumps({"n": n, "text": f"story {n}"}).encode() + b"\n" for n in range(count)
    )


CONFIGS = b"""---
configs:
- config_name: one
  data_files: one.jsonl
- config_name: two
  data_files: two.jsonl
---
"""


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A hub with some data sets; `hub.address` is where it is."""
    plain = {"README.md": b"---\nlicense: mit\n---\nTales.\n", "train.jsonl": stories(300)}
    made = Hub(
        {
            "ann/tales": plain,
            "ann/gated": plain,
            "ann/several": {
                "README.md": CONFIGS,
                "one.jsonl": stories(1),
                "two.jsonl": stories(2),
            },
            "ann/empty": {"README.md": b"Nothing."},
            "ann/script": {"README.md": b"Old.", "script.py": b"1"},
            "ann/broken": {"README.md": b"Broken.", "train.jsonl": b"{oops\n"},
        },
        gated={"ann/gated"},
    )
    with serve(made) as made.address:
        yield made
