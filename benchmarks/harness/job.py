"""A piece of work in a process of its own, timed as a whole, its tree's memory watched.

The time is from the start of the process to its end: imports and worker processes count, for us as
for anybody else. Memory is the resident memory of the process and all below it, added up every
50 ms; pages that they share count more than once. Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.process import ROOT, ContenderFailed

NUM_CORES = 2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_POLL_SECONDS = 0.05
_LOG_TAIL = 1500


def run_job(work: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call `module:function` with the arguments on two cores; return what it returns, with
    `process_seconds` and `peak_bytes`."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    env = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-m", "harness.job", work, json.dumps(arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=log, env=env)
        try:
            peak = _watch(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            raise ContenderFailed(f"{work}: {log.read()[-_LOG_TAIL:].strip()}")
        out.seek(0)
        answer = json.loads(out.read())
    return answer | {"process_seconds": round(seconds, 3), "peak_bytes": peak}


def _watch(process: subprocess.Popen[Any]) -> int:
    """Wait for the end; return the most memory that the tree held."""
    peak = 0
    while True:
        peak = max(peak, tree_bytes(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            return peak


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


def main() -> None:
    """Do one piece of work; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cores = sorted(os.sched_getaffinity(0))[:NUM_CORES]
    os.sched_setaffinity(0, cores)
    module, function = sys.argv[1].split(":")
    answer = getattr(import_module(module), function)(**json.loads(sys.argv[2]))
    answers.write(json.dumps(answer))
    answers.flush()


if __name__ == "__main__":
    main()
