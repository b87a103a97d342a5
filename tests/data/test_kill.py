"""Encoding may be ended at any moment, in any way: the next call comes to the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.data.executor import _without_interrupts

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")

FILES, WORKERS = 6, 2

SCRIPT = """
import signal
import sys
from pathlib import Path
from yxanul.base.ui import SilentUi
from yxanul.data import encode_task
from yxanul.data.config import DataSettings
from yxanul.data.encode import prepare_corpus
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
texts, out = sys.argv[1:]
plain = {"kind": "jsonl", "path": texts}
settings = {"sources": {"tales": plain}, "validation_fraction": 0.2, "workers": 2}
tokenizer = build_tokenizer(ByteSettings(), lambda: [], SilentUi())
prepare_corpus(DataSettings.model_validate(settings), tokenizer, Path(out), SilentUi())
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory, write_stories):
    """Files that take a worker some tenths of a second each."""
    folder = write_stories(tmp_path_factory.mktemp("kill") / "texts", FILES, 120)
    for path in folder.glob("*.jsonl"):
        # The same text again under other names, so that no two documents are equal.
        lines = path.read_text().splitlines()
        more = [line.replace("\\u00ba", f" {again}") for again in range(4) for line in lines]
        path.write_text("\n".join(more) + "\n")
    return folder


@pytest.fixture(scope="module")
def undisturbed(texts, tmp_path_factory, byte_tokenizer):
    out = tmp_path_factory.mktemp("undisturbed")
    prepare_corpus(settings_for(texts, 1), byte_tokenizer, out, SilentUi())
    return content_of(out)


def settings_for(texts, workers):
    plain = {"kind": "jsonl", "path": str(texts)}
    settings = {"sources": {"tales": plain}, "validation_fraction": 0.2, "workers": workers}
    return DataSettings.model_validate(settings)


def content_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: str(path.relative_to(folder)) for path in files}
    return {name: path.read_bytes() for path, name in names.items() if name not in LOCKS}


LOCKS = (".lock", ".workers")


def start(texts, out):
    command = [sys.executable, "-c", SCRIPT, str(texts), str(out)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children_of(pid):
    """Return the worker processes of a process (its tracker of resources is none)."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in cmdline(int(child))]


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value


def num_done(out):
    return len(list((out / "tales" / "parts").glob("0*.json")))


def working(process, out):
    """Wait until workers have begun to write; return their ids."""
    wait_until(lambda: list(out.glob("tales/train/.*.partial")) or process.poll() is not None)
    return children_of(process.pid) if process.poll() is None else []


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_again_and_again(texts, tmp_path, undisturbed, byte_tokenizer, seed):
    """The workers die with their parent, and a call that comes at once waits until they have."""
    moments, out = random.Random(seed), tmp_path / "out"
    kills = 0
    for wait_for_workers in (True, False, False):
        process = start(texts, out)
        workers = working(process, out)
        time.sleep(moments.uniform(0, 0.15))
        if process.poll() is None:
            kills += 1
            os.kill(process.pid, signal.SIGKILL)
        if wait_for_workers:
            wait_until(lambda gone=workers: not any(map(cmdline, gone)))
        process.wait(timeout=240)  # its pipes would not end before its workers
        process.stdout.close()
        process.stderr.close()
    prepare_corpus(settings_for(texts, 2), byte_tokenizer, out, SilentUi())
    assert content_of(out) == undisturbed
    assert kills > 0


def test_a_killed_worker_is_an_error_and_the_next_call_goes_on(
    texts, tmp_path, undisturbed, byte_tokenizer
):
    out = tmp_path / "out"
    process = start(texts, out)
    worker = working(process, out)[0]
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "YxanulError: a worker process" in errors
    assert "to resume" in errors
    done = num_done(out)
    assert done < FILES
    prepare_corpus(settings_for(texts, 1), byte_tokenizer, out, SilentUi())
    assert content_of(out) == undisturbed


def holds_ctrl_c_back(pid):
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigBlk" in x]
    return int(line.split()[1], 16) >> signal.SIGINT - 1 & 1


def test_interrupting_ends_the_workers(texts, tmp_path, undisturbed, byte_tokenizer):
    out = tmp_path / "out"
    process = start(texts, out)
    workers = working(process, out)
    assert len(workers) == WORKERS
    assert all(map(holds_ctrl_c_back, workers)), "it is for the parent to decide"
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does: all processes of the group
    _, errors = process.communicate(timeout=240)
    assert errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors
    assert not any(map(cmdline, workers))
    assert not list(out.rglob("*.partial"))
    prepare_corpus(settings_for(texts, 1), byte_tokenizer, out, SilentUi())
    assert content_of(out) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_is_started_whole_before_a_signal_counts(number):
    """One that is started by half dies with a traceback."""
    arrived, done = [], []
    before = signal.signal(number, lambda number, _: arrived.append(list(done)))
    try:
        with _without_interrupts():
            os.kill(os.getpid(), number)
            done.append("started")
    finally:
        signal.signal(number, before)
    assert arrived == [["started"]]
