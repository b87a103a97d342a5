"""The time to the first step is split without gaps."""

import os
import subprocess
import sys
import time

import pytest

from yxanul.base import clock as module
from yxanul.base.clock import Startup


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told to."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_laps_have_no_gaps(clock, monkeypatch):
    monkeypatch.setattr(module, "_age_seconds", lambda: 0.5)
    startup = Startup()
    for name, seconds in (("recipe", 1.0), ("data", 2.0), ("model", 4.0), ("data", 8.0)):
        clock[0] += seconds
        startup.lap(name)
    clock[0] += 16.0
    assert not startup.ended
    startup.end("first step")
    wanted = {"python": 0.5, "recipe": 1.0, "data": 10.0, "model": 4.0, "first step": 16.0}
    assert startup.seconds == wanted
    assert str(startup).startswith("31.5 s from the command to the first step (python 0.5, ")
    clock[0] += 32.0
    startup.lap("model")  # of the next stage
    assert startup.ended and startup.seconds == wanted


def test_a_clock_that_is_set_plays_no_part(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: -1e9)
    startup = Startup()
    startup.end("all")
    assert all(0 <= seconds < 1e6 for seconds in startup.seconds.values())


def test_where_the_system_does_not_say_the_age_it_is_none(monkeypatch):
    monkeypatch.setattr(module.Path, "read_text", lambda path: "1 (a b) S")
    assert Startup().seconds == {"python": 0.0}


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system tells no ages")
def test_it_counts_from_the_birth_of_the_process():
    code = (
        "import time\n"
        "from yxanul.base.clock import Startup\n"
        "print(time.process_time(), Startup().seconds['python'])"
    )
    began = time.monotonic()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    worked, age = map(float, said.stdout.split())
    assert worked - 0.1 < age < time.monotonic() - began + 0.1
