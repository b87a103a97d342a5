"""Processes of the contenders: each has its own, so that none warms up, slows or fills another's.

`Contender` stays between its rounds and waits on its standard input, idle while others are timed.
`run_function` and `run_command` are for work that is timed as a whole process: imports and worker
processes count, and memory is the resident memory of the whole tree, added up every 50 ms (Linux;
pages that processes share count in each). What libraries print goes to a log, whose end is shown
where something fails: the standard output of a contender is for its answers, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_SERVE = [sys.executable, "-m", "harness.process"]
_LOG_TAIL = 3000
_POLL_SECONDS = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ContenderFailed(Exception):
    """A contender could not do what it was asked; the message says why."""


def environment(threads: int | None = None, cache: Path | None = None) -> dict[str, str]:
    """Return the environment of every contender: this folder's modules, threads, no network.

    `cache` is the folder for what programs keep on a machine from one process to the next.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    env = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    if threads:
        env["OMP_NUM_THREADS"] = str(threads)
    if cache:
        env |= {"XDG_CACHE_HOME": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
    return env


class Contender:
    """One process that stays: `call` (module:name) makes an object from the job, whose methods are
    then asked for by name. `facts` is what the object says of itself at first."""

    def __init__(self, call: str, job: dict[str, Any]):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            _SERVE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(job.get("threads")),
        )
        self.facts = self._send({"call": call, "arguments": {"job": job}})

    def ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of a method; raise ContenderFailed if there is none."""
        return self._send({"call": method, "arguments": arguments})

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:
            self._process.kill()
            raise
        try:
            return _answer(line, self._log)
        except ContenderFailed:
            self.close()
            raise


@dataclass(frozen=True)
class Finished:
    """A whole process that has ended well."""

    printed: str
    seconds: float
    """From its start to its end."""
    peak_bytes: int
    """The most memory that it and its children held together."""


def run_command(
    command: list[str], env: dict[str, str] | None = None, codes: Collection[int] = (0,)
) -> Finished:
    """Run a command to its end; raise ContenderFailed with the end of its log if its exit code is
    none of `codes`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=env or environment()
        )
        try:
            while process.returncode is None:
                peak = max(peak, tree_bytes(process.pid))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        out.seek(0)
        printed = out.read()
        if process.returncode not in codes:
            raise ContenderFailed(f"{' '.join(command[:6])} failed: {_tail(log)}")
        if command[: len(_SERVE)] == _SERVE:
            _answer(printed, log)
    return Finished(printed, seconds, peak)


def run_function(
    call: str,
    arguments: dict[str, Any],
    env: dict[str, str] | None = None,
    cores: int | None = None,
) -> dict[str, Any]:
    """Call `module:function` in a process of its own; return its answer with `process_seconds` and
    `peak_bytes`."""
    message = {"call": call, "arguments": arguments, "cores": cores}
    done = run_command([*_SERVE, json.dumps(message)], env)
    told = {"process_seconds": round(done.seconds, 3), "peak_bytes": done.peak_bytes}
    return json.loads(done.printed) | told


def yxanul(
    *arguments: str, env: dict[str, str] | None = None, codes: Collection[int] = (0,)
) -> tuple[dict[str, Any], float]:
    """Run a verb of ours as a person does; return what it says with --json, and its seconds."""
    done = run_command([sys.executable, "-m", "yxanul", *arguments, "--json"], env, codes)
    return json.loads(done.printed), done.seconds


def tree_bytes(root: int) -> int:
    """Return the resident memory of a process and of all that it started."""
    total, waiting = 0, [root]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        with contextlib.suppress(OSError):  # it may have ended by now
            total += int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return total


def _answer(line: str, log: Any) -> dict[str, Any]:
    if not line:
        raise ContenderFailed(f"the process ended: {_tail(log)}")
    answer = json.loads(line)
    if "error" in answer:
        raise ContenderFailed(f"{answer['error']}\n{_tail(log)}".strip())
    return answer


def _tail(log: Any) -> str:
    log.seek(0)
    return log.read()[-_LOG_TAIL:].strip()


def _serve() -> None:
    """Answer the message on the command line, or all that come in, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made: Any = None
    for line in sys.argv[1:] or sys.stdin:
        message = json.loads(line)
        if message.get("cores"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: message["cores"]])
        try:
            module, _, name = message["call"].rpartition(":")
            called = getattr(import_module(module) if module else made, name)
            answer = called(**message["arguments"])
            if module:
                made = answer
                answer = getattr(made, "facts", made)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
