import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.base.chart import bars, columns

EIGHTHS = " ▏▎▍▌▋▊▉█"


def length_of(bar: str) -> float:
    return sum(EIGHTHS.index(sign) / 8 for sign in bar)


def test_a_picture():
    assert bars([("one", 4), ("three", 2), ("none", 0)], width=4) == [
        "one    ████ 4",
        "three  ██ 2",
        "none   0",
    ]


def test_values_are_written_as_asked():
    assert bars([("a", 1234567)], width=1) == ["a  █ 1,234,567"]
    assert bars([("a", 0.5)], 2, "{:.2f}".format) == ["a  ██ 0.50"]


def test_what_is_not_nothing_is_seen():
    small, large = bars([("s", 1), ("l", 1_000_000)], width=10)
    assert small == "s  ▏ 1" and large == "l  ██████████ 1,000,000"


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=8), st.integers(1, 60))
def test_bars_are_true_to_an_eighth_of_a_letter(values, width):
    most = max(values)
    for value, line in zip(
        values, bars([("x", v) for v in values], width, lambda _: "!"), strict=True
    ):
        drawn = length_of(line.removeprefix("x  ").removesuffix("!").rstrip())
        wanted = width * value / most if most else 0
        assert abs(drawn - wanted) <= 1 / 16 + 1e-6 or (value > 0 and drawn == 1 / 8)
        assert drawn <= width


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [-1.0], [math.nan, math.inf]])
def test_nothing_to_draw(values):
    lines = bars([("x", value) for value in values], 5, lambda _: "!")
    assert lines == ["x  !"] * len(values)
    assert columns(values) == [" "] * len(values)


def test_columns():
    assert columns([0, 1, 4, 8]) == [" ", "▂", "▅", "█"]
    assert columns([1, 1000]) == ["▁", "█"]
