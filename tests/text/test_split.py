import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.text.split import is_held_out

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FRACTIONS = st.floats(0, 1)


@given(TEXTS, FRACTIONS, FRACTIONS)
def test_more_is_held_out_at_a_larger_fraction(text, one, other):
    small, large = sorted((one, other))
    assert is_held_out(text, large) or not is_held_out(text, small)


@given(TEXTS, FRACTIONS)
def test_equal_texts_fall_on_the_same_side(text, fraction):
    assert is_held_out(text, fraction) == is_held_out(text[:1] + text[1:], fraction)


@given(TEXTS)
def test_the_ends_of_the_scale(text):
    assert is_held_out(text, 1.0)
    assert not is_held_out(text, 0.0)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_about_the_fraction_is_held_out(fraction):
    count = 20_000
    held_out = sum(is_held_out(f"document {number}", fraction) for number in range(count))
    spread = (count * fraction * (1 - fraction)) ** 0.5
    assert abs(held_out - count * fraction) < 4 * spread


def test_the_choice_is_the_same_for_ever():
    """Another choice would move validation text of old shards into training."""
    chosen = [number for number in range(300) if is_held_out(f"text {number}", 0.02)]
    assert chosen == CHOSEN_AT_2_PERCENT


CHOSEN_AT_2_PERCENT = [34, 90, 136, 197, 232]
