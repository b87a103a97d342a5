"""The W&B tracker with W&B itself: online against a stand-in of its server, and offline."""

import gzip
import json
import subprocess
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from running import PATIENCE
from tracking import LOSSES, log_and_resume
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.trackers import Histogram, open_trackers

wandb = pytest.importorskip("wandb", reason="needs the extra 'track'")


class Server(BaseHTTPRequestHandler):
    """The little of the server that logging needs: it keeps the rows of each run."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = {"data": self.answer(asked["operationName"], asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            files = json.loads(body).get("files") or {}
            rows = files.get("wandb-history.jsonl", {}).get("content", [])
            self.server.rows[self.path.split("/")[-2]] += map(json.loads, rows)
        self.reply(answer)

    def do_GET(self):
        self.reply({})

    def answer(self, operation, variables):
        if operation == "Viewer":
            return {"viewer": {"id": "1", "entity": "me", "username": "me", "teams": {"edges": []}}}
        if operation == "RunResumeStatus":
            return {"model": {"bucket": self.bucket(variables["name"], resumed=True)}}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": self.bucket(variables["name"]), "inserted": True}}
        if operation == "CreateRunFiles":
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}}
        return {}

    def bucket(self, name, resumed=False):
        rows = self.server.rows.get(name)
        if resumed and not rows:
            return None
        project = {"id": "1", "name": "yxanul", "entity": {"id": "1", "name": "me"}}
        tail = {"historyTail": json.dumps([json.dumps(row) for row in (rows or [])[-1:]])}
        return tail | {
            **{"id": "1", "name": name, "displayName": name, "project": project},
            **{
                "summaryMetrics": "{}",
                "config": "{}",
                "wandbConfig": '{"t": 1}',
                "eventsTail": "[]",
            },
            **{"logLineCount": 0, "historyLineCount": len(rows or []), "eventsLineCount": 0},
        }

    def reply(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.rows = defaultdict(list)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    yield RunFolder(tmp_path / "runs" / "a-run")
    wandb.teardown()  # else W&B keeps the settings of its first run


def losses_of(rows):
    return [(row["_step"], row["train/loss"]) for row in rows if "train/loss" in row]


def test_online_each_step_is_there_once(run, server):
    log_and_resume(["wandb", "jsonl"], run, resumed_from=5)
    (rows,) = server.rows.values()
    assert losses_of(rows) == LOSSES


def test_online_a_histogram_arrives(run, server):
    tracker = open_trackers(["wandb"], run)
    tracker.histogram(2, "histogram/weights/first", Histogram([1.0, 5.0], (-2.0, 0.0, 1.0)))
    tracker.close()
    (((row,)),) = server.rows.values()
    found = row["histogram/weights/first"]
    assert (found["values"], found["bins"]) == ([1, 5], [-2, 0, 1])


def test_offline_the_newest_piece_holds_the_whole_run(run, server, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_and_resume(["wandb", "jsonl"], run, resumed_from=5)
    assert not server.rows
    monkeypatch.delenv("WANDB_MODE")
    *_, newest = sorted(run.path.glob("wandb/offline-run-*"))
    sync = [sys.executable, "-m", "wandb", "sync", newest]
    subprocess.run(sync, check=True, timeout=PATIENCE, cwd=run.path)
    (rows,) = server.rows.values()
    assert losses_of(rows) == LOSSES
