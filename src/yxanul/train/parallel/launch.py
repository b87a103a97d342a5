"""Start several processes of one program on this machine, and end them together.

It does for `--devices` what torchrun does, but says what went wrong in one line, passes a signal on
once and waits for the save. The children find each other by torchrun's variables. No torch here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from yxanul.base.errors import GateFailed

REPORT = "YXANUL_REPORT"
"""The variable with the file into which a child writes why it ended."""
GRACE_SECONDS = 10.0
"""What the others have to end in once one has failed."""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Ending:
    """Why a process ended."""

    rank: int
    exit_code: int
    text: str
    """The line for the person; of a bug, the traceback."""
    is_accident: bool = False
    """Nothing that the person asked for or got wrong: trying again may help."""
    follows: bool = False
    """It only ended because another one had."""


class Children:
    """Processes that work on one thing; each is rank 0, 1, ... of `size`."""

    def __init__(self, command: Sequence[str], size: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="yxanul-")
        self._port = _free_port()
        self._processes = [self._start(command, rank, size) for rank in range(size)]
        self._asked: int | None = None
        self._told: set[int] = set()
        self._order: list[int] = []

    def _start(self, command: Sequence[str], rank: int, size: int) -> subprocess.Popen[bytes]:
        threads = max(1, (os.cpu_count() or 1) // size)
        environment = {
            "OMP_NUM_THREADS": str(threads),
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._port),
            REPORT: str(self._report(rank)),
        }
        with open(self._log(rank), "wb") as log:
            # A session of its own: Ctrl-C comes to this process, which passes it on, once.
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,  # ends when this process does, however that happens
                stdout=None if rank == 0 else log,
                stderr=None if rank == 0 else log,
                start_new_session=True,
            )

    def wait(self) -> Ending | None:
        """Wait until all have ended; once one has failed, the others are ended. Return the ending
        that caused the others; None if all is done."""
        deadline = None
        with self._signals_passed_on():
            while self._look():
                # After a closed gate all end by themselves, as they all have seen it.
                codes = {process.returncode for process in self._processes}
                failed = bool(codes - {None, 0, GateFailed.exit_code})
                if failed and deadline is None and self._asked is None:
                    deadline = time.monotonic() + GRACE_SECONDS
                    self._send(signal.SIGTERM)
                if deadline is not None and time.monotonic() > deadline:
                    self._send(signal.SIGKILL)
                time.sleep(_LOOK_SECONDS)
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        endings = [ending for rank in self._order if (ending := self._why(rank))]
        self._folder.cleanup()
        return next((one for one in endings if not one.follows), next(iter(endings), None))

    def _look(self) -> bool:
        """Note who has ended, in order; say whether any is still at work."""
        for rank, process in enumerate(self._processes):
            if rank not in self._order and process.poll() is not None:
                self._order.append(rank)
        return len(self._order) < len(self._processes)

    def _why(self, rank: int) -> Ending | None:
        code = self._processes[rank].returncode
        if code == 0:
            return None
        ended_by_us = rank in self._told and self._asked is None
        if self._report(rank).exists():
            ending = Ending(**json.loads(self._report(rank).read_text()))
            follows = ending.follows or (ended_by_us and ending.exit_code >= 128)
            return replace(ending, follows=follows)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = self._log(rank).read_text(errors="replace").strip().splitlines()
        said = f" ({lines[-1]})" if lines else ""
        text = f"process {rank} of {len(self._processes)} was ended by {name}{said}"
        return Ending(rank, 2, text, is_accident=True, follows=ended_by_us)

    @contextlib.contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        def receive(number: int, frame: object) -> None:
            self._asked = number
            self._send(signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

        before = {one: signal.signal(one, receive) for one in (signal.SIGINT, signal.SIGTERM)}
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


def report_ending(ending: Ending) -> bool:
    """Tell the process that started this one why it ends; False if none asked to be told."""
    path = os.environ.get(REPORT)
    if path is None:
        return False
    with contextlib.suppress(OSError):
        Path(path).write_text(json.dumps(asdict(ending)))
    return True


def end_with_parent() -> None:
    """In a child: stop as if by SIGTERM when the process that started it is gone, even by kill."""
    if REPORT not in os.environ:
        return

    def watch() -> None:
        while os.read(0, 1024):  # of the file itself: a buffer's lock would outlive the program
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
