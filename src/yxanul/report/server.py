"""A page that follows runs, for a browser on the same machine."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from yxanul.report.facts import RunReader, report_facts
from yxanul.report.page import render


class PageServer(ThreadingHTTPServer):
    """Serves the report of some runs on the loopback interface, to whoever knows the token.

    `/` is the page; `/data?after=STATE` answers with new facts, or 204 if the runs are still in
    that state.
    """

    daemon_threads = True

    def __init__(self, readers: Sequence[RunReader], port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.readers, self.lock = readers, threading.Lock()
        self.token = secrets.token_urlsafe(16)

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def facts(self) -> dict[str, Any]:
        """Return the facts of the runs, and where to ask for later ones."""
        with self.lock:
            live = {"url": f"data?token={self.token}", "after": self.state()}
            return report_facts(self.readers) | {"live": live}

    def state(self) -> str:
        """Return a text that changes whenever the runs' files do."""
        return ".".join(reader.state() for reader in self.readers)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Answer with the page or with facts."""
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        port, host = self.server.server_port, self.headers.get("Host", "")
        # Another host name is a page elsewhere that had its name point here.
        is_local = host in (f"127.0.0.1:{port}", f"localhost:{port}")
        if not is_local or not secrets.compare_digest(
            query.get("token", "").encode(), self.server.token.encode()
        ):
            self._answer(403, "text/plain", b"the address lacks the token that yxanul printed\n")
        elif address.path == "/":
            self._answer(200, "text/html", render(self.server.facts()).encode())
        elif address.path == "/data" and query.get("after") == self.server.state():
            self._answer(204, "application/json", b"")
        elif address.path == "/data":
            content = json.dumps(self.server.facts(), allow_nan=False, separators=(",", ":"))
            self._answer(200, "application/json", content.encode())
        else:
            self._answer(404, "text/plain", b"not found\n")

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
