import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.data.mix import MixCursor, exact_shares, plan_rows

NAMES = "abcde"
quick = settings(max_examples=80, deadline=None)
weight = st.one_of(
    st.integers(1, 100).map(lambda n: n / 100), st.integers(1, 7).map(float), st.floats(1e-3, 10)
)
mixes = st.lists(weight, min_size=1, max_size=5).map(lambda ws: dict(zip(NAMES, ws, strict=False)))


def taken_after_each(rows, seq_len):
    """Yield, row by row, the tokens taken of each source so far."""
    taken = dict.fromkeys(NAMES, 0)
    for row in rows:
        assert row.start == taken[row.source], "a row must follow the one before"
        taken[row.source] += seq_len
        yield dict(taken)


@quick
@given(weights=mixes, num_rows=st.integers(1, 150), seq_len=st.integers(1, 64))
def test_within_one_mix_no_source_is_ever_a_row_away(weights, num_rows, seq_len):
    rows, _ = plan_rows(MixCursor(), weights, num_rows, seq_len)
    shares = exact_shares(weights)
    for n, taken in enumerate(taken_after_each(rows, seq_len), start=1):
        for source, share in shares.items():
            assert abs(taken[source] - share * n * seq_len) < seq_len


phases = st.lists(
    st.tuples(
        st.lists(st.integers(1, 99), min_size=3, max_size=3),
        st.integers(0, 60),
        st.sampled_from([8, 16, 64, 256, 2048]),
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(phases=phases)
def test_across_phases_no_source_is_a_longest_row_away(phases):
    """Three sources, such as web, mathematics and code, with mixes and lengths that change."""
    cursor, longest = MixCursor(), 0
    asked, taken = dict.fromkeys("abc", Fraction(0)), dict.fromkeys("abc", 0)
    for weights, num_rows, seq_len in phases:
        mix = dict(zip("abc", weights, strict=True))
        longest = max(longest, seq_len)
        rows, cursor = plan_rows(cursor, mix, num_rows, seq_len)
        for row in rows:
            taken[row.source] += seq_len
            for source, share in exact_shares(mix).items():
                asked[source] += share * seq_len
                assert abs(asked[source] - taken[source]) <= longest
    assert cursor.positions == taken
    assert cursor.debts == {source: asked[source] - taken[source] for source in "abc"}


mixes_of_five = st.lists(st.integers(0, 99), min_size=5, max_size=5).filter(any)


@settings(max_examples=200, deadline=None)
@given(
    phases=st.lists(
        st.tuples(mixes_of_five, st.integers(0, 40), st.sampled_from([8, 32, 100, 512])),
        min_size=1,
        max_size=6,
    )
)
def test_five_sources_that_come_and_go_stay_within_little_more_than_a_row(phases):
    """A source that has no weight for a while keeps its debt: then a tenth of a row may be added
    to another's."""
    cursor, longest = MixCursor(), 0
    for weights, num_rows, seq_len in phases:
        longest = max(longest, seq_len)
        mix = dict(zip("abcde", weights, strict=True))
        for _ in range(num_rows):
            _, cursor = plan_rows(cursor, mix, 1, seq_len)
            assert sum(cursor.debts.values()) == 0
            assert all(abs(debt) <= 1.2 * longest for debt in cursor.debts.values())


def test_debts_from_long_rows_are_worked_off():
    _, cursor = plan_rows(MixCursor(), {"a": 1, "b": 1}, 1, 2048)
    _, cursor = plan_rows(cursor, {"a": 1, "b": 1}, 1000, 8)
    assert all(abs(debt) < 8 for debt in cursor.debts.values())


def test_the_largest_old_debt_is_worked_off_first():
    """Else a source that is owed much waits until smaller ones with less weight have all."""
    debts = {"a": Fraction(450), "b": Fraction(450), "c": Fraction(-900)}
    cursor = MixCursor(dict.fromkeys("abc", 0), debts)
    for _ in range(800):
        _, cursor = plan_rows(cursor, {"a": 0.9, "b": 0.05, "c": 0.05}, 1, 1)
        assert max(cursor.debts.values()) <= 451


@quick
@given(weights=mixes, cuts=st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_planning_in_pieces_gives_the_same_rows_also_through_json(weights, cuts):
    whole, end = plan_rows(MixCursor(), weights, sum(cuts), 16)
    cursor, rows = MixCursor(), []
    for count in cuts:
        cursor = MixCursor.from_dict(json.loads(json.dumps(cursor.to_dict())))
        some, cursor = plan_rows(cursor, weights, count, 16)
        rows += some
    assert rows == whole
    assert cursor == end


def test_a_change_of_mix_goes_on_from_the_same_positions():
    _, cursor = plan_rows(MixCursor(), {"a": 0.5, "b": 0.5}, 10, 4)
    rows, cursor = plan_rows(cursor, {"b": 1.0}, 3, 8)
    assert [(row.source, row.start) for row in rows] == [("b", 20), ("b", 28), ("b", 36)]
    rows, _ = plan_rows(cursor, {"a": 1.0}, 1, 8)
    assert rows[0] == ("a", 20)


def test_a_source_without_weight_gives_no_rows():
    rows, _ = plan_rows(MixCursor(), {"a": 0, "b": 2, "c": 0.0}, 20, 4)
    assert {row.source for row in rows} == {"b"}


def test_a_source_that_comes_back_is_paid():
    _, cursor = plan_rows(MixCursor(), {"a": 0.4, "b": 0.6}, 1, 100)
    owed = cursor.debts["a"]
    assert owed == 40
    _, cursor = plan_rows(cursor, {"b": 1}, 50, 10)
    assert cursor.debts["a"] == owed
    _, cursor = plan_rows(cursor, {"a": 0.4, "b": 0.6}, 50, 10)
    assert abs(cursor.debts["a"]) < 10


def test_shares_are_what_the_decimals_say():
    assert exact_shares({"b": 0.1, "a": 0.2}) == {"a": Fraction(2, 3), "b": Fraction(1, 3)}
    assert list(exact_shares({"b": 0.5, "a": 0.5})) == ["a", "b"]


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_impossible_weights_are_refused(bad):
    with pytest.raises(YxanulError, match="weight of 'b'"):
        plan_rows(MixCursor(), {"a": 1, "b": bad}, 1, 8)


@pytest.mark.parametrize("weights", [{}, {"a": 0}])
def test_a_mix_of_nothing_is_refused(weights):
    with pytest.raises(YxanulError, match="positive weight"):
        plan_rows(MixCursor(), weights, 1, 8)
