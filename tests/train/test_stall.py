"""A wait that takes long is named, with the step and the source; a short one is not."""

import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest

from running import PATIENCE, wait_until
from yxanul.base.ui import SilentUi
from yxanul.train import stall
from yxanul.train import trainer as training
from yxanul.train.stall import STALL_SECONDS, StallWatch


def no_thread():
    return not any(thread.name == "stall" for thread in threading.enumerate())


class Clock:
    """Goes as a test says; it knows how often it was looked at."""

    def __init__(self, monkeypatch):
        self.now, self.looks = time.monotonic() + 1000, 0
        monkeypatch.setattr(stall, "time", SimpleNamespace(monotonic=self.look))
        wait_until(no_thread)  # those of other tests look at it, too, until they end

    def look(self):
        self.looks += 1
        return self.now

    def pass_by(self, seconds):
        """Let time pass, and wait until the thread has seen it."""
        self.now += seconds
        before = self.looks
        wait_until(lambda: self.looks > before + 2)


class Warned(SilentUi):
    def __init__(self):
        self.lines, self.arrived = [], threading.Event()

    def warn(self, line):
        self.lines.append(line)
        self.arrived.set()


@pytest.fixture
def ui():
    return Warned()


def test_a_wait_is_named_while_it_lasts(ui):
    watch = StallWatch(ui, 0.05)
    with watch.watching("reading step 7 from stories"):
        assert ui.arrived.wait(PATIENCE)  # said before the wait is over
    assert ui.lines[0].startswith("reading step 7 from stories: no progress for ")
    assert ui.lines[0].endswith("; still waiting")


def test_it_is_named_again_only_when_it_has_doubled(ui, monkeypatch):
    clock, seen = Clock(monkeypatch), []
    watch = StallWatch(ui, 0.1)
    with watch.watching("x"):
        for seconds in (0.09, 0.02, 0.1, 0.02, 0.2, 0.02):  # limits are 0.1, 0.22 and 0.46
            clock.pass_by(seconds)
            seen.append(len(ui.lines))
    assert seen == [0, 1, 1, 2, 2, 2]
    clock.now += 9
    wait_until(no_thread)
    assert len(ui.lines) == 2  # the wait is over


def test_many_short_waits_are_none(ui, monkeypatch):
    clock = Clock(monkeypatch)
    watch = StallWatch(ui, 0.1)
    for _ in range(5):
        with watch.watching("x"):
            clock.pass_by(0.04)
        clock.pass_by(0.05)  # and what passes between them does not count
    assert ui.lines == []


def test_a_new_wait_begins_anew(ui):
    watch = StallWatch(ui, 0.2)
    with pytest.raises(KeyError), watch.watching("one"):
        ui.arrived.wait(PATIENCE)
        raise KeyError
    ui.arrived.clear()
    with watch.watching("two"):
        assert ui.arrived.wait(PATIENCE)
    assert ui.lines[-1].startswith("two: ")


def test_its_thread_ends_where_nothing_is_waited_for_and_comes_back(ui):
    before = set(threading.enumerate())
    watch = StallWatch(ui, 0.05)
    for _ in range(2):
        ui.arrived.clear()
        with watch.watching("x"):
            assert ui.arrived.wait(PATIENCE)
        wait_until(lambda: before.issuperset(threading.enumerate()))


def test_its_limit_is_a_minute():
    assert STALL_SECONDS == 60.0


def test_the_trainer_names_step_and_source(make_trainer, ui, monkeypatch):
    monkeypatch.setattr(training, "StallWatch", partial(StallWatch, seconds=0.05))
    trainer = make_trainer(ui=ui)
    read, slow = trainer.loader.load, []

    def batch(rows, seq_len):
        slow.append(rows)
        if len(slow) == 3:
            assert ui.arrived.wait(PATIENCE)
        return read(rows, seq_len)

    trainer.loader.load = batch
    trainer.run()
    assert ui.lines[0].startswith("reading step 3 from made: no progress for ")
    assert all(line.startswith("reading step 3 ") for line in ui.lines)
    assert trainer.progress.stage_step == 5


ENDS = """
from yxanul.base.ui import SilentUi
from yxanul.train.stall import StallWatch

watch = StallWatch(SilentUi(), 0.2)
with watch.watching("x"):
    pass
print("done")
"""


def test_it_keeps_no_process_alive():
    command = [sys.executable, "-W", "error", "-c", ENDS]
    said = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert (said.stdout, said.stderr) == ("done\n", "")
