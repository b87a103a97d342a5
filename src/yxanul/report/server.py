"""A page that follows runs, for a browser on the same machine."""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from yxanul.report.facts import RunReader, report_facts
from yxanul.report.page import render


class PageServer(ThreadingHTTPServer):
    """Serves the report of some runs on the loopback interface, to whoever knows the token.

    `/` is the page; `/data?after=STATE` answers with new facts, or 204 if there are
    none.
    """

    daemon_threads = True

    def __init__(self, readers: Sequence[RunReader], port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.readers, self._lock = readers, threading.Lock()
        self.token = secrets.token_urlsafe(16)
        self._facts: dict[str, Any] = {}
        self._rest_until = 0.0

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show a traceback, unless the browser has closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def facts(self) -> dict[str, Any]:
        """Return the facts of the runs, and the state in which they were read.

        Reading takes at most a tenth of the time: a run may be training on the same machine.
        """
        with self._lock:
            began, state = time.monotonic(), ".".join(reader.state() for reader in self.readers)
            is_known = bool(self._facts) and self._facts["live"]["after"] == state
            if not is_known and began >= self._rest_until:
                live = {"url": f"data?token={self.token}", "after": state}
                self._facts = report_facts(self.readers) | {"live": live}
                self._rest_until = time.monotonic() + 9 * (time.monotonic() - began)
            return self._facts


class _Handler(BaseHTTPRequestHandler):
    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Answer with the page or with facts."""
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        host, token = self.headers.get("Host", "").partition(":")[0], self.server.token
        if host not in ("127.0.0.1", "localhost"):  # a page elsewhere that had its name point here
            self._answer(403, "text/plain", b"open this page as 127.0.0.1 or localhost\n")
        elif not secrets.compare_digest(query.get("token", "").encode(), token.encode()):
            self._answer(403, "text/plain", b"the address lacks the token that yxanul printed\n")
        elif address.path == "/":
            self._answer(200, "text/html", render(self.server.facts()).encode())
        elif address.path == "/data":
            facts = self.server.facts()
            if query.get("after") == facts["live"]["after"]:
                self._answer(204, "application/json", b"")
                return
            content = json.dumps(facts, allow_nan=False, separators=(",", ":"))
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
