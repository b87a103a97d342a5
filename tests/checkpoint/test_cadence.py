import time

from yxanul.checkpoint.config import CheckpointSettings
from yxanul.checkpoint.keep import Cadence


class Clock:
    """A monotonic clock that a test turns."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def cadence(clock=time.monotonic, **settings):
    never = {"every_steps": None, "phase_ends": False}
    return Cadence(CheckpointSettings.model_validate(never | settings), clock)


def steps_due(which, last=20, offset=100, **events):
    """Return the steps of a stage (that began after step `offset`) at which one is due."""
    return [n for n in range(1, last + 1) if which.due(offset + n, n, **events)]


def test_never():
    which = cadence()
    assert steps_due(which) == [] == steps_due(which, phase_end=True)


def test_every_so_many_steps_of_the_stage():
    assert steps_due(cadence(every_steps=6), offset=101) == [6, 12, 18]


def test_the_end_of_a_phase():
    which = cadence(phase_ends=True)
    assert which.due(3, 3, phase_end=True)
    assert not which.due(4, 4)


def test_what_is_kept_for_good_is_written_whatever_the_steps_of_the_stage():
    assert steps_due(cadence(keep_every_steps=8), offset=101) == [3, 11, 19]
    assert steps_due(cadence(keep_every_steps=8, every_steps=10), offset=101) == [3, 10, 11, 19, 20]


def test_every_so_many_minutes_since_the_last_save():
    clock = Clock()
    which = cadence(clock, every_minutes=1.5)
    due = []
    for n in range(1, 28):
        clock.seconds += 10
        if which.due(n, n):
            due.append(n)
            clock.seconds += 5  # to copy takes a while, and does not count
            which.saved()
    assert due == [9, 18, 27]
    clock.seconds += 89.9
    assert not which.due(31, 31)
    clock.seconds += 0.2
    assert which.due(32, 32)
    assert which.due(33, 33)  # until it is saved


def test_a_save_for_another_reason_counts_too():
    clock = Clock()
    which = cadence(clock, every_minutes=1)
    clock.seconds += 50
    which.saved()
    clock.seconds += 50
    assert not which.due(1, 1)


def test_a_wall_clock_that_goes_backwards_changes_nothing(monkeypatch):
    often, seldom = cadence(every_minutes=1e-9), cadence(every_minutes=60)
    monkeypatch.setattr(time, "time", lambda: -1e9)
    monkeypatch.setattr(time, "time_ns", lambda: -(10**18))
    assert not seldom.due(1, 1)
    assert often.due(2, 2)
    seldom.saved()
    assert not seldom.due(3, 3)
