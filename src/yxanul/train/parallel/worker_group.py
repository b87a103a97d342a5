"""Launcher of several worker processes on this machine.

It does for `--devices` what torchrun does, but reports a failure in one line, forwards a signal
once and waits for the checkpoint. Workers use torchrun's environment variables. No torch here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from yxanul.base.errors import GateFailed
from yxanul.base.files import write_json
from yxanul.base.machine import usable_cores

REPORT = "YXANUL_REPORT"
"""Environment variable with the file a worker writes its exit report to."""
PARENT = "YXANUL_PARENT"
"""Environment variable with the process id of a worker's parent."""
GRACE_SECONDS = 10.0
"""Time for the other workers to exit once one has failed, or after a second Ctrl-C; also how long
to wait for the cause if a worker only reports that it lost the others."""
_LOOK_SECONDS = 0.05
_PARENT_SECONDS = 0.5
_STOPPED = "stopped; run the same command to resume"


@dataclass(frozen=True)
class ExitReport:
    """Why a worker exited."""

    rank: int
    exit_code: int
    text: str
    """The message for the user; for a bug, the traceback."""
    is_retryable: bool = False
    """True for a fault that is not the user's: a retry may help."""
    follows: bool = False
    """True if it exited only because another worker had."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields for the --json output."""


class WorkerGroup:
    """`size` worker processes running one command. Rank 0's output is shown unless `quiet`."""

    def __init__(self, command: Sequence[str], size: int, *, quiet: bool = False) -> None:
        self._command, self._size, self._quiet = command, size, quiet
        self._folder = tempfile.TemporaryDirectory(prefix="yxanul-")
        self._port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asked: list[int] = []
        self._signalled: set[int] = set()
        self._order: list[int] = []

    def run(self) -> ExitReport | None:
        """Start the workers and wait for all to exit; stop them if one fails or on a signal.

        Return the exit report of the root cause; None if all succeeded.
        """
        with self._folder, self._signals_noted():
            try:
                for rank in range(self._size):
                    self._processes.append(self._start(rank))
                self._wait()
            finally:
                self._send(signal.SIGKILL)
            return self._cause()

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        threads = max(1, usable_cores() // self._size)
        environment = {
            "OMP_NUM_THREADS": str(threads),
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self._size),
            "LOCAL_WORLD_SIZE": str(self._size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._port),
            REPORT: str(self._report_path(rank)),
            PARENT: str(os.getpid()),
        }
        with open(self._log(rank), "wb") as log:
            # Its own session: Ctrl-C reaches only this process, which forwards it once.
            return subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log if rank or self._quiet else None,
                stderr=log if rank or self._quiet else None,
                start_new_session=True,
            )

    def _wait(self) -> None:
        end_at = kill_at = math.inf
        num_passed_on = 0
        while self._look():
            now = time.monotonic()
            for number in self._asked[num_passed_on:]:
                num_passed_on += 1
                # SIGTERM first even for SIGINT, which prints a traceback while Python starts.
                again = num_passed_on > 1 and number == signal.SIGINT
                self._send(signal.SIGINT if again else signal.SIGTERM)
                kill_at = min(kill_at, now + GRACE_SECONDS) if again else kill_at
            if failed := self._failed():
                follow = all(report.follows for report in failed)
                end_at = min(end_at, now + GRACE_SECONDS * follow)
            if self._asked and 0 in self._order:  # rank 0, which saves, is done
                end_at = min(end_at, now)
            if now >= end_at and kill_at == math.inf:
                self._send(signal.SIGTERM)
                kill_at = now + GRACE_SECONDS
            if now >= kill_at:
                self._send(signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> bool:
        """Record exited workers, in order; return whether any is still running."""
        for rank, process in enumerate(self._processes):
            if rank not in self._order and process.poll() is not None:
                self._order.append(rank)
        return len(self._order) < self._size

    def _reports(self) -> list[ExitReport]:
        """Return the exit reports of workers that did not succeed, in order."""
        return [report for rank in self._order if (report := self._report(rank))]

    def _failed(self) -> list[ExitReport]:
        """Return the exit reports after which the other workers cannot continue."""
        # All workers exit by themselves after a failed gate, and after a signal.
        return [
            report
            for report in self._reports()
            if report.exit_code != GateFailed.exit_code
            and not (self._asked and report.exit_code >= 128)
        ]

    def _report(self, rank: int) -> ExitReport | None:
        code = self._processes[rank].returncode
        if code == 0:
            return None
        is_signalled = rank in self._signalled
        if self._report_path(rank).exists():
            report = ExitReport(**json.loads(self._report_path(rank).read_text()))
            was_stopped = is_signalled and not self._asked and report.exit_code >= 128
            return replace(report, follows=report.follows or was_stopped)
        if is_signalled and (code < 0 or code >= 128):  # nothing to save, or it did not respond
            return ExitReport(rank, 128 + signal.SIGTERM, _STOPPED, follows=True)
        end = f"exited with code {code}"
        if code < 0:
            end = f"was killed by {signal.Signals(-code).name}"
        lines = self._log(rank).read_text(errors="replace").strip().splitlines()
        last_line = f" ({lines[-1]})" if lines else ""
        text = f"rank {rank} of {self._size} {end}{last_line}"
        return ExitReport(rank, 2, text, is_retryable=True)

    def _cause(self) -> ExitReport | None:
        reports = self._reports()
        first = next(iter(reports), None)
        cause = next((report for report in reports if not report.follows), first)
        if cause is None or not self._asked:
            return cause
        if cause.follows:
            cause = ExitReport(0, 128, _STOPPED)
        code = 128 + self._asked[0] if cause.exit_code >= 128 else cause.exit_code
        return replace(cause, exit_code=code, is_retryable=False)  # stopped on purpose: no retry

    @contextlib.contextmanager
    def _signals_noted(self) -> Iterator[None]:
        def note(number: int, frame: object) -> None:
            self._asked.append(number)

        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _send(self, number: int) -> None:
        for rank, process in enumerate(self._processes):
            if process.poll() is None:
                self._signalled.add(rank)
                process.send_signal(number)

    def _report_path(self, rank: int) -> Path:
        return Path(self._folder.name) / f"report-{rank}.json"

    def _log(self, rank: int) -> Path:
        return Path(self._folder.name) / f"log-{rank}.txt"


def command_of(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs yxanul with `arguments`."""
    return [sys.executable, "-m", "yxanul", *arguments]


def write_exit_report(report: ExitReport) -> bool:
    """Report to the launcher why this worker exits; False if there is no launcher."""
    path = os.environ.get(REPORT)
    if path is None:
        return False
    with contextlib.suppress(OSError):
        write_json(Path(path), asdict(report))
    return True


def end_with_parent() -> None:
    """Send SIGTERM to this worker of `WorkerGroup` or torchrun when its parent dies, even by
    kill -9. A worker that does not respond is killed later (see `StopRequest`)."""
    if PARENT not in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
