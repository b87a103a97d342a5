"""A contender in a process of its own, told what to do by lines of JSON.

The process stays alive between its rounds and waits on its standard input, so that it is idle
while the others are timed. What it prints besides goes to a log, whose end is shown if it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOG_TAIL = 1500


class ContenderFailed(Exception):
    """A contender could not do what it was told; its message says why."""


class Contender:
    """One process. `job` says what it builds; `ask` has it do one thing and waits for it."""

    def __init__(self, job: dict[str, Any]):
        self.name = job["contender"]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        env = os.environ | {"PYTHONPATH": _python_path(), "HF_HUB_OFFLINE": "1"}
        if job.get("threads"):
            env["OMP_NUM_THREADS"] = str(job["threads"])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=env,
        )
        self.built = self._send(job)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a command; `ContenderFailed` if there is none."""
        return self._send({"command": command, **arguments})

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        except BaseException:
            self._process.kill()
            raise
        if not answer:
            self._fail(f"the process ended: {self._tail()}")
        reply = json.loads(answer)
        if "error" in reply:
            self._fail(f"{reply['error']}\n{self._tail()}")
        return reply

    def _fail(self, reason: str) -> None:
        self.close()
        raise ContenderFailed(reason.strip())

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read()[-LOG_TAIL:].strip()


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
