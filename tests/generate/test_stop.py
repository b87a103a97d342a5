from hypothesis import given
from hypothesis import strategies as st

from yxanul.generate.stop import StopFinder

LETTERS = st.text("ab\n", max_size=12)


def through(pieces, stops):
    finder = StopFinder(stops)
    out = "".join(finder.feed(piece) for piece in pieces)
    return out + finder.flush(), finder.found


def first_stop(text, stops):
    """Cut at the stop string that is complete first, read letter by letter."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS.filter(bool), max_size=3))
def test_any_cut_into_pieces_gives_the_same(pieces, stops):
    assert through(pieces, stops) == first_stop("".join(pieces), stops)


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS.filter(bool), min_size=1, max_size=3))
def test_nothing_is_let_through_that_may_belong_to_a_stop(pieces, stops):
    finder, seen, out = StopFinder(stops), "", ""
    for piece in pieces:
        seen, out = seen + piece, out + finder.feed(piece)
        for stop in stops:
            for more in range(len(stop)):
                assert len(out) <= len(first_stop(seen + stop[len(stop) - more :], stops)[0])


def test_text_flows_as_soon_as_it_is_certain():
    finder = StopFinder(["\n\nEnd"])
    assert [finder.feed(c) for c in "a\nb\n\nE"] == ["a", "", "\nb", "", "", ""]
    assert finder.feed("x") == "\n\nEx"
    assert StopFinder([]).feed("all") == "all"
