import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.cli.pictures import area, bars, parts_bar, shades_of

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
    assert area(values, 1) == [" " * len(values)]


def test_an_area_stands_on_its_floor():
    assert area([0, 1, 4, 8], 2) == ["   █", " ▂██"]
    assert area([0, 0], 1) == ["  "] and area([], 2) == ["", ""]


@given(
    st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=30), st.integers(1, 9)
)
def test_columns_of_an_area_are_true_to_an_eighth_of_a_letter(values, height):
    lines, most = area(values, height), max(values)
    assert len(lines) == height and {len(line) for line in lines} == {len(values)}
    for value, column in zip(values, zip(*lines, strict=True), strict=True):
        drawn = sum(" ▁▂▃▄▅▆▇█".index(letter) for letter in column)
        assert (drawn > 0) == (value > 0)
        if value:
            assert abs(drawn - max(1, 8 * height * (value / most))) <= 0.5


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=9), st.integers(1, 60))
def test_a_bar_of_parts_is_full(values, width):
    shares = {f"n{place}": value for place, value in enumerate(values)}
    bar = parts_bar(shares, shades_of(list(shares)), width)
    assert len(bar) == width


def test_parts_have_their_shares():
    shares = {"a": 3, "b": 1}
    assert parts_bar(shares, shades_of(["a", "b"]), 8) == "██████▒▒"
