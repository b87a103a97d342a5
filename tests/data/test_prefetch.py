import threading

import pytest

from yxanul.data.prefetch import prefetched


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_thread_ends():
    assert list(prefetched(range(50))) == list(range(50))
    assert threads() == []


def test_nothing_at_all():
    assert list(prefetched([])) == []


def test_items_are_made_ahead_but_not_far():
    made = []
    enough = threading.Event()

    def items():
        for n in range(100):
            made.append(n)
            if n == 3:  # one handed over, two waiting, one in the thread's hand
                enough.set()
            yield n

    ahead = prefetched(items(), depth=2)
    assert next(ahead) == 0
    assert enough.wait(5)
    ahead.close()
    assert len(made) <= 5
    assert threads() == []


def test_an_error_comes_out_at_its_place():
    def items():
        yield 1
        raise ValueError("broken")

    ahead = prefetched(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    assert threads() == []
