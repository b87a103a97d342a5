"""Start several processes of one program on this machine, and end them together.

It does for `--devices` what torchrun does, but says what went wrong in one line, passes a signal on
once and waits for the save. The children find each other by torchrun's variables. No torch here.
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

REPORT = "YXANUL_REPORT"
"""The variable with the file into which a child writes why it ended."""
PARENT = "YXANUL_PARENT"
"""The variable with the id of the process that started a child."""
GRACE_SECONDS = 10.0
"""What the others have to end in once one has failed, or after a second Ctrl-C; and for how long a
process that only lost the others waits for the one that was the cause."""
_LOOK_SECONDS = 0.05
_PARENT_SECONDS = 0.5
_STOPPED = "stopped; the same command goes on from what is on disk"


@dataclass(frozen=True)
class ExitReport:
    """Why a process ended."""

    rank: int
    exit_code: int
    text: str
    """The line for the person; of a bug, the traceback."""
    is_accident: bool = False
    """Nothing that the person asked for or got wrong: trying again may help."""
    follows: bool = False
    """It only ended because another one had."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What --json says of it."""


class WorkerGroup:
    """Processes that work on one thing; each is rank 0, 1, ... of `size`. What the first of them
    says is shown unless they are to be `quiet`."""

    def __init__(self, command: Sequence[str], size: int, *, quiet: bool = False) -> None:
        self._command, self._size, self._quiet = command, size, quiet
        self._folder = tempfile.TemporaryDirectory(prefix="yxanul-")
        self._port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asked: list[int] = []
        self._told: set[int] = set()
        self._order: list[int] = []

    def run(self) -> ExitReport | None:
        """Start them and wait until all have ended; once one has failed, or this process is told
        to stop, they are ended. Return the ending that caused the others; None if all is done."""
        with self._folder, self._signals_noted():
            try:
                for rank in range(self._size):
                    self._processes.append(self._start(rank))
                self._wait()
            finally:
                self._send(signal.SIGKILL)
            return self._cause()

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        threads = max(1, (os.cpu_count() or 1) // self._size)
        environment = {
            "OMP_NUM_THREADS": str(threads),
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self._size),
            "LOCAL_WORLD_SIZE": str(self._size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._port),
            REPORT: str(self._report(rank)),
            PARENT: str(os.getpid()),
        }
        with open(self._log(rank), "wb") as log:
            # A session of its own: Ctrl-C comes to this process, which passes it on, once.
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
                # First SIGTERM also for SIGINT, which Python shows as a traceback while it starts.
                again = num_passed_on > 1 and number == signal.SIGINT
                self._send(signal.SIGINT if again else signal.SIGTERM)
                kill_at = min(kill_at, now + GRACE_SECONDS) if again else kill_at
            if failed := self._failed():
                follow = all(one.follows for one in failed)
                end_at = min(end_at, now + GRACE_SECONDS * follow)
            if self._asked and 0 in self._order:  # the one that saves is done
                end_at = min(end_at, now)
            if now >= end_at and kill_at == math.inf:
                self._send(signal.SIGTERM)
                kill_at = now + GRACE_SECONDS
            if now >= kill_at:
                self._send(signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> bool:
        """Note who has ended, in order; say whether any is still at work."""
        for rank, process in enumerate(self._processes):
            if rank not in self._order and process.poll() is not None:
                self._order.append(rank)
        return len(self._order) < self._size

    def _endings(self) -> list[ExitReport]:
        """Return why those have ended who did not simply do all."""
        return [ending for rank in self._order if (ending := self._why(rank))]

    def _failed(self) -> list[ExitReport]:
        """Return the endings after which the others cannot go on."""
        # After a closed gate all end by themselves, as they all have seen it; so they do when told.
        return [
            one
            for one in self._endings()
            if one.exit_code != GateFailed.exit_code and not (self._asked and one.exit_code >= 128)
        ]

    def _why(self, rank: int) -> ExitReport | None:
        code = self._processes[rank].returncode
        if code == 0:
            return None
        is_told = rank in self._told
        if self._report(rank).exists():
            ending = ExitReport(**json.loads(self._report(rank).read_text()))
            follows = ending.follows or (is_told and not self._asked and ending.exit_code >= 128)
            return replace(ending, follows=follows)
        if is_told and (code < 0 or code >= 128):  # it had nothing to save, or did not react
            return ExitReport(rank, 128 + signal.SIGTERM, _STOPPED, follows=True)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = self._log(rank).read_text(errors="replace").strip().splitlines()
        said = f" ({lines[-1]})" if lines else ""
        text = f"process {rank} of {self._size} was ended by {name}{said}"
        return ExitReport(rank, 2, text, is_accident=True)

    def _cause(self) -> ExitReport | None:
        endings = self._endings()
        cause = next((one for one in endings if not one.follows), next(iter(endings), None))
        if not self._asked:
            return cause
        if cause is None or cause.follows:
            cause = ExitReport(0, 128, _STOPPED)
        code = 128 + self._asked[0] if cause.exit_code >= 128 else cause.exit_code
        return replace(cause, exit_code=code, is_accident=False)  # nobody wants it tried again

    @contextlib.contextmanager
    def _signals_noted(self) -> Iterator[None]:
        def note(number: int, frame: object) -> None:
            self._asked.append(number)

        before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _send(self, number: int) -> None:
        for rank, process in enumerate(self._processes):
            if process.poll() is None:
                self._told.add(rank)
                process.send_signal(number)

    def _report(self, rank: int) -> Path:
        return Path(self._folder.name) / f"report-{rank}.json"

    def _log(self, rank: int) -> Path:
        return Path(self._folder.name) / f"log-{rank}.txt"


def command_of(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs this program with other arguments."""
    return [sys.executable, "-m", "yxanul", *arguments]


def write_exit_report(ending: ExitReport) -> bool:
    """Tell the process that started this one why it ends; False if none asked to be told."""
    path = os.environ.get(REPORT)
    if path is None:
        return False
    with contextlib.suppress(OSError):
        write_json(Path(path), asdict(ending))
    return True


def end_with_parent() -> None:
    """In a worker of `WorkerGroup` or torchrun: stop as if by SIGTERM when the parent is gone, even
    by kill -9. A process that does not react is ended all the same (see `StopRequest`)."""
    if PARENT not in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = int(os.environ.get(PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
