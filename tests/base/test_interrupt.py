import signal
import threading

import pytest

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
    with pytest.raises(Interrupted, match=f"stopped by {number.name}") as caught, stop.handled():
        signal.raise_signal(number)
        pytest.fail("went on after the signal")
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_a_deferred_signal_is_noted_and_raised_when_asked(number):
    stop, done = StopRequest(), []
    with stop.handled():
        with stop.deferred():
            signal.raise_signal(number)
            done.append("step")
        assert stop.signal_number == number
        with pytest.raises(Interrupted, match=r"^saved; go on$") as caught:
            stop.raise_if_asked("saved", hint="go on")
    assert done == ["step"]
    assert caught.value.exit_code == 128 + number


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_does_not_wait(first):
    stop = StopRequest()
    with stop.handled(), stop.deferred():
        signal.raise_signal(first)
        with pytest.raises(Interrupted, match="stopped by SIGINT"):
            signal.raise_signal(signal.SIGINT)


def test_more_of_sigterm_change_nothing():
    """Schedulers and launchers may each send one: the save goes on."""
    stop = StopRequest()
    with stop.handled(), stop.deferred():
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM


def test_behind_the_deferred_block_it_is_at_once_again():
    stop = StopRequest()
    with stop.handled():
        with stop.deferred():
            pass
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


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
