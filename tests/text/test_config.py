import pytest
from pydantic import TypeAdapter, ValidationError

from yxanul.text.config import JsonlSettings, SourceSettings, TextSettings, parse_template

ANY = TypeAdapter(SourceSettings)


def test_the_kind_chooses_the_class():
    assert isinstance(ANY.validate_python({"kind": "text", "path": "x"}), TextSettings)
    with pytest.raises(ValidationError, match="kind"):
        ANY.validate_python({"kind": "planes", "path": "x"})


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="sepparator"):
        ANY.validate_python({"kind": "text", "path": "x", "sepparator": "--"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"text_column": "a", "template": "{a}"},
        {"template": "no column at all"},
        {"template": "an open {brace"},
        {"template": "nothing in {}"},
        {"template": "{price:.2f}"},
        {"limit": 0},
        {"text_column": ""},
        {"on_problem": "ignore"},
        {"chat": "chatlm"},
        {"chat": "{% for m in messages %}"},
        {"chat": "{{ no_messages }}"},
    ],
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        JsonlSettings(path="x", **wrong)


def test_a_chat_template_is_checked_at_birth():
    assert JsonlSettings(path="x").chat == "plain"
    assert JsonlSettings(path="x", chat="{{ messages }}").chat == "{{ messages }}"
    with pytest.raises(ValidationError, match=r"'chatml'\?"):
        JsonlSettings(path="x", chat="chatlm")


@pytest.mark.parametrize("separator", ["", "a\nb", " --- "])
def test_a_separator_is_part_of_one_line(separator):
    with pytest.raises(ValidationError):
        TextSettings(path="x", separator=separator)


def test_a_template_in_pieces():
    assert parse_template("Q: {question}\nA: {the answer}!") == (
        ("Q: ", "question"),
        ("\nA: ", "the answer"),
        ("!", None),
    )
    assert parse_template("{{{x}}}") == (("{", None), ("", "x"), ("}", None))
