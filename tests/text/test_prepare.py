import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.documents import CAUSES, CHOICES, PROBLEMS, Document, Dropped, SourceSlice
from yxanul.text.prepare import prepared
from yxanul.text.split import Split, is_held_out

PART = SourceSlice("part", None, "")
TENTH = SourceSlice("part", None, "", split=Split(0.1, by_position=False))


class ListedSource:
    """A source of given items."""

    name, synthetic, notes = "listed", False, ()

    def __init__(self, items, on_problem="drop"):
        self.items = items
        self.settings = TextSettings(path="nowhere", on_problem=on_problem)

    def slices(self):
        return [PART]

    def read(self, part):
        return iter(self.items)


def documents(*texts):
    return [Document(f"d#{n}", text) for n, text in enumerate(texts)]


def test_each_document_has_the_side_that_its_text_decides():
    texts = [f"text {n}" for n in range(300)]
    sides = [side for side, _ in prepared(ListedSource(documents(*texts)), TENTH)]
    assert sides == ["validation" if is_held_out(text, 0.1) else "train" for text in texts]
    assert 0 < sides.count("validation") < 100


def test_empty_documents_are_dropped_and_their_neighbours_stay():
    items = list(prepared(ListedSource(documents("a", "", " \n\t ", "b")), PART))
    assert items[1:3] == [Dropped("empty", "d#1"), Dropped("empty", "d#2")]
    assert [item[1].text for item in (items[0], items[3])] == ["a", "b"]


def test_what_a_source_dropped_goes_through():
    broken = Dropped("broken_utf8", "d#7")
    assert list(prepared(ListedSource([broken]), TENTH)) == [broken]


@pytest.mark.parametrize("cause", PROBLEMS)
def test_stop_makes_a_problem_an_error_that_names_the_place(cause):
    source = ListedSource([*documents("a"), Dropped(cause, "file.txt#3")], on_problem="stop")
    items = prepared(source, PART)
    assert next(items)[0] == "train"
    with pytest.raises(YxanulError, match=r"listed.*file\.txt#3"):
        next(items)


def test_stop_counts_empty_documents_as_problems():
    with pytest.raises(YxanulError, match="d#0 is empty"):
        list(prepared(ListedSource(documents(" "), on_problem="stop"), PART))


class Without:
    """A filter of texts with some word; it notes what it was asked."""

    def __init__(self, word, cause):
        self.word, self.name, self.asked = word, cause, []

    def cause(self, document):
        self.asked.append(document.text)
        return self.name if self.word in document.text else None


def test_the_first_filter_that_objects_decides():
    filters = [Without("red", "quality"), Without("blue", "language")]
    source = ListedSource(documents("red", "blue", "red blue", " ", "green"))
    items = list(prepared(source, PART, filters))
    assert items[:4] == [
        Dropped("quality", "d#0", "red"),
        Dropped("language", "d#1", "blue"),
        Dropped("quality", "d#2", "red blue"),
        Dropped("empty", "d#3"),
    ]
    assert items[4][1].text == "green"
    assert filters[0].asked == ["red", "blue", "red blue", "green"]
    assert filters[1].asked == ["blue", "green"]


def test_filters_do_not_change_the_sides_of_what_stays():
    texts = [f"text {n}" for n in range(300)]
    everything = dict(
        (document.text, side) for side, document in prepared(ListedSource(documents(*texts)), TENTH)
    )
    filtered = prepared(ListedSource(documents(*texts)), TENTH, [Without("7", "quality")])
    stays = [item for item in filtered if isinstance(item, tuple)]
    assert len(stays) == sum("7" not in text for text in texts)
    assert all(everything[document.text] == side for side, document in stays)


@pytest.mark.parametrize("cause", CHOICES)
def test_stop_does_not_stop_for_what_a_filter_drops(cause):
    source = ListedSource(documents("a", "b"), on_problem="stop")
    items = list(prepared(source, PART, [Without("a", cause)]))
    assert items[0] == Dropped(cause, "d#0", "a")
    assert items[1][1].text == "b"


def test_every_cause_is_a_problem_or_a_choice():
    assert CAUSES == {**PROBLEMS, **CHOICES}
    assert not PROBLEMS.keys() & CHOICES.keys()
