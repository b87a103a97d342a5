import pytest
import torch

from yxanul.train import threads


@pytest.fixture
def four_threads(monkeypatch):
    """A torch that computes on four threads, and says so."""
    now = [4]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(threads, "usual_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    return now


@pytest.mark.parametrize(("half", "best"), [(1.0, 4), (1.1, 4), (1.3, 2)])
def test_half_the_threads_only_where_they_are_clearly_faster(monkeypatch, four_threads, half, best):
    monkeypatch.setattr(threads, "_speed", lambda: {4: 100.0, 2: 100.0 * half}[four_threads[0]])
    assert threads.best_num_threads() == best
    assert four_threads == [4]


def test_all_threads_come_back_when_the_other_processes_are_gone(monkeypatch, four_threads):
    four_threads[0] = 2
    monkeypatch.setattr(threads, "_speed", lambda: 100.0)
    assert threads.best_num_threads() == 4
    assert four_threads == [2]


def test_what_the_user_asks_for_stays(monkeypatch, four_threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(threads, "_speed", lambda: pytest.fail("measured"))
    assert threads.best_num_threads() == 4


def test_it_is_measured_in_pieces():
    assert threads._speed() > 0
