"""Runs programs written by a model, each in a process of its own, and says whether they pass.

With namespaces a program sees no file but Python's libraries, no network and no other process, and
writes to memory only. That keeps accidents and plain attacks in. It is no defence against a program
that exploits the kernel, nor against one written to look as if it had passed: program and tests
share an interpreter.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from yxanul.base.errors import YxanulError
from yxanul.base.machine import usable_cores
from yxanul.base.ui import ProgressTask

_SCRIPT = Path(__file__).with_name("sandbox_process.py")
_WALL_FACTOR = 4
"""Wall-clock time allowed, relative to CPU time: on a busy machine a program waits for its turn."""
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended."""

    status: Literal["passed", "failed", "timed_out"]
    """Passed: the program ran to its end without an exception."""
    reason: str = ""
    """The exception, signal or limit that ended it; empty if it passed."""


def run_program(source: str, *, seconds: float = 5.0, isolated: bool = True) -> ProgramResult:
    """Run a Python program for at most `seconds` of CPU time (rounded up), and 4 times as long by
    the clock.

    An early exit is a failure, whatever its status. The standard library can be imported, other
    packages cannot. Output is discarded. Unless `isolated`, the program runs with the user's rights
    and sees the user's files. Raises YxanulError if it cannot be isolated.
    """
    order = {
        "source": source,
        "cpu_seconds": math.ceil(seconds),
        "wall_seconds": _WALL_FACTOR * seconds,
        "isolated": isolated,
    }
    patience = _WALL_FACTOR * seconds + _START_SECONDS
    with (
        tempfile.TemporaryDirectory(prefix="yxanul-", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={},
            start_new_session=True,
        ) as process,
    ):
        try:
            out, err = process.communicate(json.dumps(order).encode(), patience)
        except subprocess.TimeoutExpired:
            return ProgramResult("timed_out", f"still running after {patience:g} s")
        finally:
            process.kill()  # with it the program: it is the child's parent-death signal
    return _read(out, err)


def _read(out: bytes, err: bytes) -> ProgramResult:
    if not out and not err:
        return ProgramResult("failed", "sandbox killed: out of memory, or by the program")
    result: dict[str, Any] = json.loads(out) if out else {"problem": err.decode().splitlines()[-1]}
    if "problem" in result:
        raise YxanulError("the sandbox cannot run programs on this machine", got=result["problem"])
    return ProgramResult(**result)


def run_programs(
    sources: Sequence[str],
    *,
    workers: int | None = None,
    seconds: float = 5.0,
    isolated: bool = True,
    bar: ProgressTask | None = None,
) -> list[ProgramResult]:
    """Run programs, `workers` at a time (one a CPU of this process by default); return the outcomes
    in order."""
    run = partial(run_program, seconds=seconds, isolated=isolated)
    outcomes: list[ProgramResult] = []
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for outcome in pool.map(run, sources):
            outcomes.append(outcome)
            if bar:
                bar.advance(1)
    return outcomes


@cache
def isolation_problem() -> str | None:
    """Return why this machine cannot isolate programs, or None if it can."""
    try:
        outcome = run_program("", seconds=60.0)
    except YxanulError as error:
        return str(error.got)
    return outcome.reason or None


def check_code_allowed(allow_code: bool, unsafe_code: bool) -> bool:
    """Return whether programs run isolated.

    Raises YxanulError unless the user allows code, and where the machine cannot isolate it, unless
    the user allows that as well.
    """
    if not allow_code:
        raise YxanulError(
            "this task runs programs that the model writes", hint="allow that with --allow-code"
        )
    problem = isolation_problem()
    if problem and not unsafe_code:
        raise YxanulError(
            "cannot isolate programs on this machine",
            got=problem,
            hint="--unsafe-code runs them with your rights and files",
        )
    return problem is None
