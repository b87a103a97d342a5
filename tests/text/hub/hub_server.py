"""A stand-in for the hub on 127.0.0.1: its HTTP interface for datasets, and its bad days."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_opensesame"
ALWAYS = 1 << 30

Files = dict[str, bytes]


@dataclass
class Fault:
    """What goes wrong with the next requests whose "METHOD path" the pattern finds."""

    pattern: str
    times: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """The connection ends before this byte of the file."""
    stalls: bool = False
    """The answer comes when all is over: later than the client waits."""
    over: threading.Event = field(default_factory=threading.Event)
    meanwhile: Callable[[], object] | None = None
    """What happens before the answer."""


@dataclass
class Hub:
    """Data sets with their commits, who may read them, and how the server behaves."""

    commits: dict[str, dict[str, Files]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    gated: dict[str, int] = field(default_factory=dict)
    """The status for who may not read a set."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answers_ranges: bool = True
    address: str = ""

    def put(self, name: str, files: Files) -> str:
        """Make these the files of a set, by a commit of which main is the name from now on."""
        history = self.commits.setdefault(name, {})
        commit = hashlib.sha1(f"{name} {len(history)} {sorted(files)}".encode()).hexdigest()
        history[commit] = files
        self.heads[name] = commit
        return commit

    @contextmanager
    def failing(self, pattern: str, times: int = ALWAYS, **how: Any) -> Iterator[Fault]:
        """Fail so often while the block runs."""
        fault = Fault(pattern, times, **how)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)
            fault.over.set()

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Gather the requests of the block, as "METHOD path" or "METHOD path in a range"."""
        self.requests.clear()
        yield (seen := [])
        seen.extend(self.requests)


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve `hub` while the block runs; yields the address for HF_ENDPOINT."""
    handler = type("BoundHandler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
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
    # Head and body come in two pieces: the second one must not wait for the client.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _respond(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}" + (" in a range" if "Range" in self.headers else "")
        self.hub.requests.append(request)
        self._cut_at = None
        if fault := self._fault(request):
            fault.times -= 1
            if fault.meanwhile:
                fault.meanwhile()
            if fault.stalls:
                fault.over.wait(60)
            if fault.status:
                return self._send(fault.status, b"{}", fault.headers)
            self._cut_at = fault.cut_at
        # The answer to a client that has gone away meanwhile has nobody to go to.
        try:
            self._route(path, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _fault(self, request: str) -> Fault | None:
        fits = (f for f in self.hub.faults if f.times > 0 and re.search(f.pattern, request))
        return next(fits, None)

    def _route(self, path: str, body: bytes) -> None:
        match = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(\w[\w-]*)/([^/]+)(.*))?", path)
        if not match:
            return self._send(404, b"{}")
        name, kind, revision, inside = match.groups()
        if name not in self.hub.commits:
            return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if name in self.hub.gated and TOKEN not in self.headers.get("Authorization", ""):
            return self._send(self.hub.gated[name], b"{}", {"X-Error-Code": "GatedRepo"})
        history = self.hub.commits[name]
        commit = self.hub.heads[name] if revision in (None, "main") else revision
        if commit not in history:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        self._answer(kind, name, commit, (inside or "").strip("/"), body)

    def _answer(self, kind: str | None, name: str, commit: str, inside: str, body: bytes) -> None:
        files = self.hub.commits[name][commit]
        if kind == "resolve":
            return self._send_file(files.get(inside), commit)
        if kind == "tree":
            entries = _tree(files, inside, "recursive=true" in self.path.lower())
            if not entries and inside:
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return self._send_json(entries)
        if kind == "paths-info":
            asked = re.findall(r"paths=([^&]+)", body.decode())
            paths = {unquote(path.replace("+", " ")) for path in asked}
            return self._send_json([_entry(p, data) for p, data in files.items() if p in paths])
        siblings = [{"rfilename": path} for path in files]
        self._send_json({"id": name, "sha": commit, "siblings": siblings, "tags": []})

    def _send_file(self, data: bytes | None, commit: str) -> None:
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted or not self.hub.answers_ranges:
            return self._send(200, data, headers)
        start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        self._send(206, data[start:stop], headers, start)

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, start: int = 0
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self._cut_at is not None and start + len(body) > self._cut_at:
            body = body[: max(self._cut_at - start, 0)]
            self.close_connection = True
        self.wfile.write(body)


def _tree(files: Files, folder: str, recursive: bool) -> list[dict[str, object]]:
    """Return what lies in a folder, or also in the folders below."""
    start = f"{folder}/" if folder else ""
    inside = {p: data for p, data in files.items() if p.startswith(start)}
    below = {p for p in inside if "/" in p.removeprefix(start)}
    parents = {start + p.removeprefix(start).partition("/")[0] for p in below}
    folders = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in parents]
    shown = [path for path in sorted(inside) if recursive or path not in below]
    return [*folders, *(_entry(path, inside[path]) for path in shown)]


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
