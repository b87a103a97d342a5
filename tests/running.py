"""The program as people start it: in this process, or in one of its own that can be killed."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.monitor.alerts.table import TIMED as TIMED_ALERTS

TIMED = ("perf/", "memory/", "epoch/avg_tokens_per_second")
PATIENCE = 240.0


def wait_until(condition, seconds=PATIENCE):
    """Return what the condition gives as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


@dataclass(frozen=True)
class Said:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The one line that says what went wrong: the last one, and no other like it."""
        (line,) = [one for one in self.err.splitlines() if one.startswith("yxanul: ")]
        assert self.err.splitlines()[-1] == line and "Traceback" not in self.err, self.err
        return line

    @property
    def warnings(self):
        return [one for one in self.err.splitlines() if one.startswith("warning: ")]


def call(*arguments, cwd=".", stdin=""):
    """Run the program in this process."""
    from yxanul.cli.entry import run as main

    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = ["yxanul", *map(str, arguments)]
    said = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    asked = patch.object(sys, "argv", argv), patch.object(sys, "stdin", io.StringIO(stdin))
    with contextlib.chdir(cwd), asked[0], asked[1], said[0], said[1]:
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Said(code, out.getvalue(), err.getvalue())


@dataclass
class Program:
    """A program in a process of its own, and of its own session."""

    process: subprocess.Popen
    log: io.IOBase

    def until(self, condition, seconds=PATIENCE):
        """Wait for a condition while the program is at work."""

        def is_so():
            assert self.process.poll() is None, self.end().err
            return condition()

        wait_until(is_so, seconds)

    def end(self, seconds=PATIENCE):
        """Wait for the end."""
        try:
            code = self.process.wait(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        self.log.seek(0)
        text = self.log.read()
        self.log.close()
        return Said(code, "", text)

    def kill(self):
        self.process.kill()
        return self.end()


def start(log, *arguments, module="yxanul", **environment):
    """Start the program; all that it says goes to the file `log`."""
    said = open(log, "w+")  # noqa: SIM115 - open as long as the program lives
    process = subprocess.Popen(
        [sys.executable, "-m", *module.split(), *map(str, arguments)],
        stdout=said,
        stderr=said,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    return Program(process, said)


def after_step(monkeypatch, step, action):
    """Call `action(engine)` once after that update, whatever process it is in."""
    from yxanul.train.engine import Engine

    apply, count = Engine.step, itertools.count(1)

    def applied(engine):
        apply(engine)
        if next(count) == step:
            action(engine)

    monkeypatch.setattr(Engine, "step", applied)


def stop_at(recipe, out, monkeypatch, step):
    """Train until SIGTERM arrives in that step."""
    with monkeypatch.context() as patch:
        after_step(patch, step, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert call("train", recipe, "--out", out).code == 143
    assert step_of(out) == step


def children_of(pid):
    """Return the processes that a process has started."""
    folder = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in folder.read_text().split()] if folder.exists() else []


def is_alive(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def await_end(pids, seconds=PATIENCE):
    """Wait until the processes are gone."""
    wait_until(lambda: not any(map(is_alive, pids)), seconds)


def lines_of(out):
    """Return all lines of the metrics."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def metrics_of(out):
    """Return the lines of the metrics, without what is timed, and alerts about it."""
    kept = [one for one in lines_of(out) if one.get("alert", {}).get("name") not in TIMED_ALERTS]
    return [{k: v for k, v in line.items() if not k.startswith(TIMED)} for line in kept]


def series(out, name):
    """Return a metric of every update."""
    return [line[name] for line in lines_of(out) if "train/loss" in line]


def alerts_of(out):
    """Return the alerts of a run, each with its step."""
    return [line["alert"] | {"step": line["step"]} for line in lines_of(out) if "alert" in line]


def ledger_of(out):
    return json.loads((out / "ledger.json").read_text())


def stage_of(out, index=0):
    """Return what the ledger says of a stage."""
    return ledger_of(out)["stages"][index]


def files_of(folder):
    """Return every file of a folder with its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def flip_a_bit(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def in_own_mounts():
    """Return the beginning of a command that may mount what only it sees."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no user mount anything")
    return command


def step_of(out):
    """Return the last step that is in the metrics."""
    path = out / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def steps_of(out):
    return checkpoint_steps(out / "checkpoints")


def newest(out):
    return checkpoint_path(out / "checkpoints", steps_of(out)[-1])


def trained(out):
    """Return what has to be equal in two runs: the newest checkpoint, metrics and ledger."""
    tensors, state = read_checkpoint(newest(out))
    values = {
        f"{stem}: {name}": hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
        for stem, named in tensors.items()
        for name, tensor in named.items()
    }
    return {
        "step": steps_of(out)[-1],
        "tensors": values,
        "state": state,
        "metrics": metrics_of(out),
        "ledger": ledger_of(out),
    }


def assert_same_run(out, straight):
    """Two runs have come to the same, to the bit."""
    ours, theirs = trained(out), trained(straight)
    for part, value in theirs.items():
        assert ours[part] == value, part


def assert_all_finite(out):
    """Every checkpoint there is holds nothing but numbers."""
    for step in steps_of(out):
        tensors, _ = read_checkpoint(checkpoint_path(out / "checkpoints", step))
        for named in tensors.values():
            assert all(bool(one.isfinite().all()) for one in named.values())


NURSERY = """
import json, os, signal, sys, time
import yxanul.cli.app, yxanul.stages.runner, yxanul.stages.resume
from yxanul.cli.entry import run as main

def live(order):
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    sys.argv = ["yxanul", *order["arguments"]]
    main()

def is_time(order, began):
    if order["text"]:
        return os.path.exists(order["file"]) and order["text"] in open(order["file"]).read()
    return time.monotonic() > began + order["seconds"]

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        try:
            live(order)
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(0)
    began, number = time.monotonic(), order["number"]
    while number and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if is_time(order, began):
            time.sleep(order["seconds"] if order["text"] else 0)
            os.kill(child, number)
            break
        time.sleep(0.005)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Nursery:
    """Forks programs of a process that has imported all: a start takes no time."""

    folder: Path
    process: subprocess.Popen = field(init=False)

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def live(self, *arguments, number=0, seconds=0.0, file=None, text=None):
        """Run the program to its end. With a signal's number, send it after so many seconds: of
        its life, or since `text` is in `file`."""
        log = str(self.folder / "log.txt")
        order = {
            "arguments": list(map(str, arguments)),
            "log": log,
            "number": int(number),
            "seconds": seconds,
            "file": str(file or log),
            "text": text,
        }
        print(json.dumps(order), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return Said(code, "", Path(log).read_text())
