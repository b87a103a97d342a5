"""What every kind of filter must do: parametrised over the table, and decontamination with it."""

import random
from typing import get_args

import pytest
from pydantic import TypeAdapter

from processes import causes_of
from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.decontaminate import Decontaminate, ngrams_of
from yxanul.text.documents import CHOICES, Document
from yxanul.text.filters.config import FilterSettings
from yxanul.text.filters.table import FILTERS, open_filters

ONE = TypeAdapter(FilterSettings)
LONG = " ".join(f"word{n}" for n in range(60))
GERMAN = "Das alte Haus am Ende der Straße stand schon seit vielen Jahren leer."
ODD = [
    " ",
    "\n\n\n",
    ".",
    "word",
    "w" * (1 << 20),
    "many words on one line " * (1 << 16),
    "\0",
    "a\0b\0\n\0",
    "🙂 " * 50,
    "\u0301\u200d\ufeff",
    "文字文字文字",
    "\r\x0b\x0c\x1c\x85\u2028",
    "-1 " * 100,
    "\ud800 half a pair",
]


def quality(folder):
    file = folder / "scorers.py"
    file.write_text("def length(texts):\n    return [len(text) for text in texts]\n")
    return {"function": f"{file}:length", "at_least": 20}


# Settings for each kind, and for each a document that goes and its cause.
CASES = {
    "length": (
        lambda _: {"min_chars": 3, "max_chars": 1000},
        Document("d", "ab"),
        "too_short",
    ),
    "score": (lambda _: {"column": "n", "at_least": 5}, Document("d", "a", {"n": 4}), "score"),
    "value": (
        lambda _: {"column": "n", "one_of": [5, "math"]},
        Document("d", "a", {"n": "web"}),
        "value",
    ),
    "language": (lambda _: {"languages": ["en"]}, Document("d", GERMAN), "language"),
    "repetition": (lambda _: {}, Document("d", "again and again\n" * 9), "repetition"),
    "quality": (quality, Document("d", "short"), "quality"),
}
STAYS = Document("d", "She walked home in the rain, slowly, and thought of him.", {"n": 5})


def settings_of(kind, folder):
    values, goes, cause = CASES[kind]
    return ONE.validate_python({"kind": kind, **values(folder)}), goes, cause


def documents():
    """Ordinary documents, some with scores, and odd ones."""
    draw = random.Random(2)
    texts = [
        " ".join(draw.choices(LONG.split(), k=draw.randint(1, 80)))
        + draw.choice(["", "\nthe end"] * 2)
        for _ in range(40)
    ]
    texts += [GERMAN, STAYS.text, LONG, *ODD]
    return [Document(f"d{n}", text, {"n": n % 9}) for n, text in enumerate(texts)]


@pytest.fixture(params=[*FILTERS, "decontaminate"])
def case(request, tmp_path):
    """A filter, and a document that it drops with the cause."""
    if request.param == "decontaminate":
        return Decontaminate(ngrams_of([LONG])), Document("d", LONG), "contaminated"
    if request.param == "language":
        pytest.importorskip("py3langid")
    settings, goes, cause = settings_of(request.param, tmp_path)
    (opened,) = open_filters(TextSettings(path="x", filters=(settings,)))
    return opened, goes, cause


def test_every_kind_has_a_case_and_settings():
    assert set(FILTERS) == set(CASES)
    classes = get_args(get_args(FilterSettings)[0])
    assert {one.model_fields["kind"].default for one in classes} == set(FILTERS)


def test_filters_are_opened_in_the_order_of_the_recipe(tmp_path):
    kinds = ["quality", "length", "repetition", "length", "score"]
    filters = tuple(settings_of(kind, tmp_path)[0] for kind in kinds)
    opened = open_filters(TextSettings(path="x", filters=filters))
    assert [type(one) for one in opened] == [FILTERS[kind] for kind in kinds]
    assert open_filters(TextSettings(path="x")) == []


def test_an_unknown_kind_is_an_error():
    wrong = TextSettings.model_construct(filters=[TextSettings(path="x")])
    with pytest.raises(YxanulError, match="unknown filter 'text'"):
        open_filters(wrong)


def test_one_document_stays_and_another_goes_for_the_cause(case):
    opened, goes, cause = case
    assert opened.cause(STAYS) is None
    assert opened.cause(goes) == cause
    assert cause in CHOICES


def test_odd_texts_are_answered(case):
    for text in ODD:
        assert case[0].cause(Document("d", text)) in (None, *CHOICES)


def test_the_order_of_the_documents_does_not_matter(case):
    opened, some = case[0], documents()
    answers = {document.id: opened.cause(document) for document in some}
    assert len(set(answers.values())) > 1
    random.Random(1).shuffle(some)
    assert {document.id: opened.cause(document) for document in some} == answers


def test_another_process_gives_the_same_answers(case, elsewhere):
    opened, some = case[0], documents()
    assert elsewhere(causes_of, opened, some) == [opened.cause(one) for one in some]
