import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.stages.plan import bounds_of, cap_epochs, repeats, tokens_by_source
from yxanul.text.config import TextSettings
from yxanul.train.curriculum import Phase, Plan


def phase(first, steps, mix, seq_len=8, rows=4):
    return Phase(0, seq_len, rows, rows, first, steps, 1.0, None, mix)


def read_by(plan):
    """Tokens of each source that a run of the plan really reads."""
    cursor = MixCursor()
    for one in plan.phases:
        for _ in range(one.num_steps):
            _, cursor = plan_rows(cursor, one.mix, one.rows, one.seq_len)
    return cursor.positions


def test_a_source_stops_at_its_bound_and_the_others_take_its_share():
    plan = Plan((phase(0, 100, {"a": 0.5, "b": 0.25, "c": 0.25}),))
    bounded = cap_epochs(plan, {"a": 2}, {"a": 320, "b": 9999, "c": 9999}, {})
    assert bounded.total_steps == 100
    assert [one.mix for one in bounded.phases] == [
        {"a": 0.5, "b": 0.25, "c": 0.25},
        {"b": 0.25, "c": 0.25},
    ]
    read = read_by(bounded)
    assert 640 - 2 * 32 <= read["a"] <= 640
    assert abs(read["b"] - read["c"]) <= 8


def test_what_was_read_before_counts():
    plan = Plan((phase(0, 10, {"a": 1, "b": 1}),))
    bounded = cap_epochs(plan, {"a": 1}, {"a": 100, "b": 10**6}, {"a": 90})
    assert [one.mix for one in bounded.phases] == [{"b": 1}]


def test_bounds_that_leave_nothing_are_an_error():
    plan = Plan((phase(0, 10, {"a": 1}),))
    with pytest.raises(YxanulError, match=r"max_epochs leaves too little .* exhausted .*: a"):
        cap_epochs(plan, {"a": 1}, {"a": 100}, {})


def test_a_source_without_weight_has_no_bound():
    sources = {name: TextSettings(path="x", max_epochs=2) for name in "ab"}
    assert bounds_of(Plan((phase(0, 5, {"a": 1, "b": 0}),)), sources) == {"a": 2}


def test_a_rounding_error_at_a_bound_does_not_stop_the_walk():
    """292.57 tokens are left, a step takes 164.57 and a row 128: in floats, no step fits."""
    plan = Plan((phase(0, 400, {"a": 2, "b": 3, "c": 2}, seq_len=128, rows=3),))
    available = {"a": 1408, "b": 1280, "c": 1024}
    bounded = cap_epochs(plan, {"b": 1, "c": 1.5}, available, {})
    assert bounded.total_steps == 400
    assert all(one.num_steps for one in bounded.phases)
    assert read_by(bounded)["b"] <= 1280


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(0, 9), min_size=3, max_size=3),
    bounds=st.dictionaries(st.sampled_from("ab"), st.floats(0.1, 3), max_size=2),
    phases=st.lists(st.tuples(st.integers(0, 30), st.sampled_from([4, 16, 64])), min_size=1),
)
def test_no_bound_is_ever_passed(weights, bounds, phases):
    mix = dict(zip("abc", weights, strict=True)) | {"c": weights[2] + 1}
    steps, made = 0, []
    for num_steps, seq_len in phases[:4]:
        made.append(phase(steps, num_steps, mix, seq_len))
        steps += num_steps
    available = {"a": 500, "b": 2000, "c": 10**9}
    bounded = cap_epochs(Plan(tuple(made)), bounds, available, {})
    assert bounded.total_tokens == Plan(tuple(made)).total_tokens
    assert [p.first_step for p in bounded.phases] == [
        sum(q.num_steps for q in bounded.phases[:n]) for n in range(len(bounded.phases))
    ]
    for name, tokens in read_by(bounded).items():
        assert tokens <= bounds.get(name, 10**9) * available[name]


def test_repeats_are_in_epochs():
    plan = Plan((phase(0, 10, {"a": 3, "b": 1}), phase(10, 10, {"b": 1})))
    assert tokens_by_source(plan) == {"a": 240, "b": 400}
    assert repeats(plan, {"a": 120, "b": 800}, {"a": 60}) == {"a": 2.5, "b": 0.5}
