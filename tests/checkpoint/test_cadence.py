import time

import pytest

from yxanul.checkpoint.cadence import Cadence, Moment
from yxanul.checkpoint.config import CheckpointSettings


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
    return [
        n for n in range(1, last + 1) if which.due(Moment(step=offset + n, stage_step=n, **events))
    ]


def test_never_but_at_the_end_of_the_stage_and_at_the_best():
    which = cadence()
    assert steps_due(which) == [] == steps_due(which, phase_end=True)
    assert which.due(Moment(7, 7, stage_end=True)) == "end of stage"
    assert which.due(Moment(7, 7, is_best=True)) == "best so far"


def test_every_so_many_steps_of_the_stage():
    assert steps_due(cadence(every_steps=6), offset=101) == [6, 12, 18]
    assert cadence(every_steps=6).due(Moment(6, 6)) == "every 6 steps"


def test_the_end_of_a_phase():
    which = cadence(phase_ends=True)
    assert which.due(Moment(3, 3, phase_end=True)) == "end of phase"
    assert which.due(Moment(4, 4)) is None


def test_what_is_kept_for_good_is_written_whatever_the_steps_of_the_stage():
    assert steps_due(cadence(keep_every_steps=8), offset=101) == [3, 11, 19]
    assert steps_due(cadence(keep_every_steps=8, every_steps=10), offset=101) == [3, 10, 11, 19, 20]


def test_every_so_many_minutes_since_the_last_save():
    clock = Clock()
    which = cadence(clock, every_minutes=1.5)
    due = []
    for n in range(1, 28):
        clock.seconds += 10
        if which.due(Moment(n, n)):
            due.append(n)
            clock.seconds += 5  # to copy takes a while, and does not count
            which.saved()
    assert due == [9, 18, 27]
    clock.seconds += 89.9
    assert which.due(Moment(31, 31)) is None
    clock.seconds += 0.2
    assert which.due(Moment(32, 32)) == "every 1.5 minutes"
    assert which.due(Moment(33, 33)) == "every 1.5 minutes"  # until it is saved


def test_a_save_for_another_reason_counts_too():
    clock = Clock()
    which = cadence(clock, every_minutes=1)
    clock.seconds += 50
    which.saved()
    clock.seconds += 50
    assert which.due(Moment(1, 1)) is None


def test_a_wall_clock_that_goes_backwards_changes_nothing(monkeypatch):
    often, seldom = cadence(every_minutes=1e-9), cadence(every_minutes=60)
    monkeypatch.setattr(time, "time", lambda: -1e9)
    monkeypatch.setattr(time, "time_ns", lambda: -(10**18))
    assert seldom.due(Moment(1, 1)) is None
    assert often.due(Moment(2, 2)) == "every 1e-09 minutes"
    seldom.saved()
    assert seldom.due(Moment(3, 3)) is None


@pytest.mark.parametrize("jump", [-1e6, -30.0])
def test_even_a_clock_of_ours_that_is_set_back_brings_none_early_and_keeps_none_away(jump):
    clock = Clock()
    which = cadence(clock, every_minutes=1)
    for n in range(5):
        clock.seconds += 10
        assert which.due(Moment(n, n)) is None
    clock.seconds += jump
    assert which.due(Moment(6, 6)) is None
    clock.seconds += 9
    assert which.due(Moment(7, 7)) is None
    clock.seconds += 2
    assert which.due(Moment(8, 8)) is not None
