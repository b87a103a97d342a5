import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yxanul.text.split import (
    SPAN_BYTES,
    FileHead,
    HeldOutSpans,
    Split,
    cut_by_spans,
    fraction_for,
    hash_of,
    is_held_out,
    spans_of_small_text,
)

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


@given(TEXTS)
def test_the_fraction_for_a_text_just_holds_it_out(text):
    lowest = hash_of(text.encode())
    assert is_held_out(text, fraction_for(lowest))
    assert not is_held_out(text, lowest / 2**64 / (1 + 1e-9))


def sized(*sizes):
    return [FileHead(f"{n}.txt", size, str(n).encode()) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "sizes, wanted",
    [
        ([600_000], 60_000),
        ([2_000_000], SPAN_BYTES),
        ([10_000_000], 200_000),
        ([5_000] * 100, 50_000),
        ([1_000_000] * 20, 400_000),
        ([0, 0], 0),
    ],
)
def test_a_small_text_gives_a_fiftieth_and_enough_to_compare_by(sizes, wanted):
    files = sized(*sizes)
    runs = spans_of_small_text(files, 0.02)
    assert runs is not None
    assert sum(run.length for run in runs.values()) == wanted
    by_name = {file.name: file for file in files}
    assert all(0 <= r.begin <= by_name[n].size_bytes - r.length for n, r in runs.items())
    assert runs == spans_of_small_text(files[::-1], 0.02)


def test_a_share_that_is_asked_for_is_given_though_it_is_more_than_a_tenth():
    assert (
        sum(run.length for run in (spans_of_small_text(sized(90_000), 0.3) or {}).values())
        == 27_000
    )


def test_a_large_text_has_runs_at_every_so_many_bytes_whatever_other_files_there_are():
    assert spans_of_small_text(sized(10**8), 0.02) is None
    runs = [Split(0.02).spans_of("a", str(n).encode(), 1000) for n in range(2000)]
    assert runs[0] == Split(0.02).spans_of("a copy of a", b"0", 1000)
    for at in (0, 10_000, 123_456):  # small files, too, are held out as often as they should
        assert 20 < sum(one is not None and one.holds(at) for one in runs) < 60
    (one,) = runs[:1]
    assert one is not None
    assert sum(one.holds(at) for at in range(5 * one.period)) == 5 * 1000


BLOCKS = st.lists(st.sampled_from([b"a", b"long words", b"\n", b"\n\n", b" \n"]), max_size=60)


@settings(deadline=None)
@given(BLOCKS, st.integers(0, 80), st.integers(1, 40), st.integers(1, 9), st.data())
def test_cuts_lose_nothing_and_do_not_depend_on_the_blocks(pieces, begin, length, patience, data):
    text = b"".join(pieces)
    lines = text.split(b"\n")
    many = data.draw(st.integers(1, max(len(lines), 1)))
    some = [b"\n".join(lines[at : at + many]) for at in range(0, len(lines), many)]

    def cut(blocks):
        found: list[tuple[bool, bytes]] = []
        for held_out, (block, _) in cut_by_spans(
            [(block, True) for block in blocks], 0, HeldOutSpans(begin, length), patience
        ):
            if found and found[-1][0] == held_out:
                block = b"\n".join([found.pop()[1], block])
            found.append((held_out, block))
        return found

    assert cut(some) == cut(lines)
    assert b"\n".join(block for _, block in cut(lines)) == text
