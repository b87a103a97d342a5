import os
import queue
import signal
import threading

import pytest

from yxanul.base import interrupt
from yxanul.base.errors import Interrupted
from yxanul.base.interrupt import StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _handlers_come_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_at_once(number):
    stop = StopRequest()
    with pytest.raises(Interrupted, match="stopped") as caught, stop.handled():
        signal.raise_signal(number)
        pytest.fail("went on after the signal")
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_a_deferred_signal_is_noted_and_raised_when_asked(number):
    stop, done = StopRequest(), []
    with pytest.raises(Interrupted, match=r"^saved; go on$") as caught, stop.handled():
        with stop.deferred():
            signal.raise_signal(number)
            done.append("step")
        assert stop.signal_number == number
        stop.raise_if_asked("saved", hint="go on")
    assert done == ["step"]
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_wait(first):
    stop = StopRequest()
    with pytest.raises(Interrupted) as caught, stop.handled(), stop.deferred():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on after the signal")
    assert caught.value.exit_code == 130


def test_more_of_sigterm_change_nothing():
    """Schedulers and launchers may each send one: the save goes on."""
    stop, done = StopRequest(), []
    with pytest.raises(Interrupted), stop.handled():
        with stop.deferred():
            for _ in range(3):
                signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        done.append("saved")
    assert done == ["saved"]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_import_is_completed_whatever_arrives(number):
    """An exception inside C++ that a module runs on import would abort the process."""
    stop, done = StopRequest(), []
    with pytest.raises(Interrupted) as caught, stop.handled():
        with stop.importing():
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT)
            done.append("imported")
        pytest.fail("went on after the import")
    assert done == ["imported"] and caught.value.exit_code == 128 + number


def test_one_that_nobody_asked_about_is_raised_at_the_end():
    stop = StopRequest()
    with pytest.raises(Interrupted) as caught, stop.handled(), stop.deferred():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143


@pytest.fixture
def ended(monkeypatch):
    """The exit codes with which this process would have been ended."""
    codes = queue.Queue()
    monkeypatch.setattr(interrupt, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(os, "_exit", codes.put)
    return codes


def as_inside_cpp(*numbers):
    """What signals do while the main thread is where it runs no handler."""
    wakeup = signal.set_wakeup_fd(-1)
    os.write(wakeup, bytes(numbers))
    signal.set_wakeup_fd(wakeup)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_does_not_react_is_ended(ended, number):
    with StopRequest().handled():
        as_inside_cpp(number)
        assert ended.get(timeout=60) == 128 + number


def test_a_step_may_take_its_time_unless_ctrl_c_comes_twice(ended):
    stop = StopRequest()
    with stop.handled(), stop.deferred():
        as_inside_cpp(signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        assert ended.get(timeout=60) == 130
    assert ended.empty()


def test_another_ctrl_c_does_not_tear_what_is_tidied_up(ended):
    """But it ends what takes too long."""
    tidied = []
    with pytest.raises(Interrupted), StopRequest().handled():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            tidied.append(ended.get(timeout=60))
    assert tidied == [130]


def test_whoever_else_handles_a_signal_answers_for_it(ended):
    seen = []
    with StopRequest().handled():
        before = signal.signal(signal.SIGTERM, lambda *_: seen.append("launcher"))
        signal.raise_signal(signal.SIGTERM)
        as_inside_cpp(signal.SIGINT)  # which comes after it
        assert ended.get(timeout=60) == 130
        signal.signal(signal.SIGTERM, before)
    assert seen == ["launcher"] and ended.empty()


def test_behind_the_deferred_block_it_is_at_once_again():
    stop = StopRequest()
    with pytest.raises(Interrupted), stop.handled():
        with stop.deferred():
            pass
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on after the signal")


def test_without_a_signal_nothing_is_raised():
    StopRequest().raise_if_asked("saved", hint="go on")


def test_in_another_thread_the_handlers_stay():
    before, inside = signal.getsignal(signal.SIGINT), []

    def work():
        with StopRequest().handled():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
