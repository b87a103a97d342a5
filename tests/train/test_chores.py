import pytest

from yxanul.train.chores import Chore


def due_steps(every, total):
    chore = Chore("save", every, lambda trainer: None)
    return [step for step in range(1, total + 1) if chore.due(step, last=step == total)]


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [(1, 3, [1, 2, 3]), (4, 10, [4, 8, 10]), (5, 10, [5, 10]), (100, 7, [7])],
)
def test_a_chore_is_due_every_so_often_and_at_the_end(every, total, steps):
    assert due_steps(every, total) == steps
