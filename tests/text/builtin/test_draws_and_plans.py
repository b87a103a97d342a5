from itertools import pairwise

import pytest

from yxanul.text.sources.builtin.draws import Draws, Plans, digits, permuted, take_distinct


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 64, 101, 1000, 4097])
@pytest.mark.parametrize("seed", [0, 5])
def test_permuted_hits_every_number_once(size, seed):
    assert sorted(permuted(n, size, seed) for n in range(size)) == list(range(size))


def test_permuted_depends_on_the_seed_and_leaves_no_order():
    first = [permuted(n, 10_000, 0) for n in range(1000)]
    assert first != [permuted(n, 10_000, 1) for n in range(1000)]
    rises = sum(a < b for a, b in pairwise(first))
    assert 400 < rises < 600
    assert 30 < sum(number < 500 for number in first) < 75  # about one in twenty


def test_digits_write_every_combination_once():
    rows = {tuple(digits(n, (3, 4, 5))) for n in range(60)}
    assert len(rows) == 60
    assert all(a < 3 and b < 4 and c < 5 for a, b, c in rows)


def test_plans_are_dealt_evenly_and_never_twice():
    plans = Plans([(3, 4), (5, 7), (2, 2, 4)])
    assert plans.count == 3 * 12
    dealt = [plans.plan(n, seed=1) for n in range(plans.count)]
    assert len({(kind, *choices) for kind, choices in dealt}) == plans.count
    assert [sum(kind == k for kind, _ in dealt) for k in range(3)] == [12, 12, 12]
    assert plans.plan(plans.count, seed=1) == dealt[0]


def test_take_distinct_covers_all_ordered_choices():
    rows = {tuple(take_distinct("abcd", (i, j))) for i in range(4) for j in range(3)}
    assert len(rows) == 12
    assert all(a != b for a, b in rows)


def test_draws_are_fixed_for_ever():
    draws = Draws(2026)
    assert [draws.below(100) for _ in range(6)] == [11, 50, 51, 86, 10, 22]
    assert sorted(Draws(1).shuffled(range(20))) == list(range(20))
    assert Draws(1).shuffled(range(20)) != list(range(20))
