import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.trackers.jsonl import JsonlTracker


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def lines(run):
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_one_object_a_line_at_once(run):
    tracker = JsonlTracker(run)
    tracker.log(1, {"train/loss": 2.5, "curriculum/phase": 0})
    assert run.metrics.read_text() == '{"step": 1, "train/loss": 2.5, "curriculum/phase": 0}\n'


def test_floats_come_back_to_the_bit_and_tensors_are_numbers(run):
    tracker = JsonlTracker(run)
    tracker.log(1, {"a": 0.1 + 0.2, "b": torch.tensor(0.5), "c": float("nan"), "d": 1e-320})
    assert lines(run) == [{"step": 1, "a": 0.1 + 0.2, "b": 0.5, "c": None, "d": 1e-320}]


@pytest.mark.parametrize("torn", ['{"step": 3, "train/lo', "{", '{"step": 3}'])
def test_a_torn_last_line_is_dropped_when_the_file_is_opened(run, torn):
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n' + torn)
    tracker = JsonlTracker(run)
    tracker.log(3, {"a": 1})
    assert lines(run) == [{"step": 1}, {"step": 2}, {"step": 3, "a": 1}]


def test_rewind_drops_later_and_broken_lines_only(run):
    whole = '{"step": 1, "a": 1}\nnot json\n[1]\n{"step": 2, "a": 2}\n{"step": 2, "val": 9}\n'
    run.metrics.write_text(whole + '{"step": 3, "a": 3}\n{"step": 10, "a": 4}\n')
    JsonlTracker(run).rewind(2)
    assert lines(run) == [{"step": 1, "a": 1}, {"step": 2, "a": 2}, {"step": 2, "val": 9}]
    assert [path.name for path in run.path.iterdir()] == ["metrics.jsonl"]


def test_rewind_drops_what_has_no_step(run):
    run.metrics.write_text('{"step": 1}\n{"step": "2"}\nnull\n[3]\n{"step": 4}\n')
    JsonlTracker(run).rewind(4)
    assert run.metrics.read_text() == '{"step": 1}\n{"step": 4}\n'


def test_rewind_to_the_start_leaves_an_empty_file(run):
    run.metrics.write_text('{"step": 1}\n')
    JsonlTracker(run).rewind(0)
    assert run.metrics.read_text() == ""


def test_a_failing_rewind_leaves_the_file_as_it_was(run, monkeypatch):
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n')

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        JsonlTracker(run).rewind(1)
    assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_file_that_cannot_be_written_is_one_line(run):
    tracker = JsonlTracker(run)
    run.metrics.mkdir()
    with pytest.raises(YxanulError, match=r"cannot write .*metrics\.jsonl"):
        tracker.log(1, {"a": 1})


ENDLESS = """
import itertools, pathlib, sys
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.trackers.jsonl import JsonlTracker
tracker = JsonlTracker(RunFolder(pathlib.Path(sys.argv[1])))
tracker.rewind(int(sys.argv[2]))
for step in itertools.count(int(sys.argv[2]) + 1):
    tracker.log(step, {"a": step / 3, "b": 0.25})
    print(step, flush=True)
"""


def test_killed_and_resumed_every_step_is_there_once(run):
    start = 0
    for _ in range(3):
        command = [sys.executable, "-c", ENDLESS, str(run.path), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            last = [int(writer.stdout.readline()) for _ in range(40)][-1]
            os.kill(writer.pid, signal.SIGKILL)
        start = last - 7
    JsonlTracker(run).rewind(start)
    assert lines(run) == [{"step": s, "a": s / 3, "b": 0.25} for s in range(1, start + 1)]
