import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.config import ColumnSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources.columns import choose_columns

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


def choose(rows, **settings):
    names = list(dict.fromkeys(name for row in rows for name in row))
    return choose_columns(ColumnSettings(**settings), names, rows, "the file")


def text_of(row, **settings):
    item = choose([row], **settings).document(row, "n#0")
    return item.text if isinstance(item, Document) else item


@pytest.mark.parametrize(
    ("row", "guess"),
    [
        ({"title": "a long long title", "text": "b"}, "text"),
        ({"title": "a long long title", "content": "b"}, "content"),
        ({"text": 17, "body": "b"}, "body"),
        ({"n": 1, "words": "b", "flag": True}, "words"),
        ({"source": "web", "messages": CHAT}, "messages"),
        ({"title": "short", "body": "longer than the title"}, "body"),
        ({"raw": b"bytes", "n": 1}, "raw"),
    ],
)
def test_the_guess(row, guess):
    columns = choose([row])
    assert columns.names == [guess]
    assert f"'{guess}'" in columns.note


def test_a_named_column_is_no_guess():
    assert choose([{"text": "a"}], text_column="text").note is None
    assert choose([{"text": "a"}], template="{text}").note is None


def test_no_column_of_text_is_an_error():
    with pytest.raises(YxanulError, match="holds text; got n, tags"):
        choose([{"n": 1, "tags": [1, 2]}])


def test_a_template_fills_in_values():
    row = {"q": "2 < 3?", "a": True, "n": 1.5, "braces": "{q}"}
    assert text_of(row, template="{{{q}}} {a} {n} {braces}") == "{2 < 3?} True 1.5 {q}"


def test_a_template_without_its_value_drops_the_row():
    columns = choose([{"q": "a", "a": "b"}], template="{q}{a}")
    assert columns.document({"q": "x"}, "n#1") == Dropped("missing_column", "n#1")
    assert columns.document({"q": "x", "a": None}, "n#2") == Dropped("missing_column", "n#2")


def test_a_chat_becomes_paragraphs():
    assert text_of({"messages": CHAT}) == "user: Hi\n\nassistant: Hello!"
    other_names = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
    assert text_of({"conversations": other_names}) == "human: Hi\n\ngpt: Hello!"
    blocks = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"value": "b"}, "c"]}]
    assert text_of({"messages": blocks}) == "user: a\nb\nc"
    silent = [*CHAT, {"role": "assistant", "content": None, "tool_calls": [1]}]
    assert text_of({"messages": silent}).endswith("Hello!\n\nassistant: ")
    assert text_of({"m": CHAT}, template="Chat:\n{m}").startswith("Chat:\nuser: Hi")


def test_a_chat_in_another_form():
    marked = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    assert text_of({"messages": CHAT}, chat="chatml") == marked
    sharegpt = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]
    assert text_of({"conversations": sharegpt}, chat="chatml") == marked
    assert text_of({"m": CHAT}, template="{m}END", chat="chatml") == marked + "END"
    own = "{% for message in messages %}[{{ message.content }}]{% endfor %}"
    assert text_of({"messages": CHAT}, chat=own) == "[Hi][Hello!]"
    refusing = "{{ raise_exception('no') }}{{ messages }}"
    assert text_of({"messages": CHAT}, chat=refusing) == Dropped("not_text", "n#0")
    assert text_of({"p": ["a", "b"]}, text_column="p", chat="chatml") == "a\n\nb"


def test_scores_stand_beside_the_text():
    filters = ({"kind": "score", "column": "score", "at_least": 3},)
    rows = [{"text": "a", "score": 3.5, "lang": "en"}, {"text": "b", "score": None}, {"text": "c"}]
    columns = choose(rows, filters=filters)
    assert columns.names == ["text", "score"]
    documents = [columns.document(row, "n") for row in rows]
    assert [(d.text, d.scores) for d in documents] == [("a", {"score": 3.5}), ("b", {}), ("c", {})]
    assert choose(rows).document(rows[0], "n").scores == {}
    with pytest.raises(YxanulError, match=r"'score'.*'scores'\?"):
        choose([{"text": "a", "scores": 1}], filters=filters)


def test_what_few_rows_have_is_no_guess():
    rows = [{"content": "about the set"}, *[{"title": "t", "body": "a long text"}] * 4]
    assert choose(rows).names == ["body"]


def test_a_list_of_strings_becomes_paragraphs():
    assert text_of({"paragraphs": ["a", "b"]}, text_column="paragraphs") == "a\n\nb"


@pytest.mark.parametrize(
    "value",
    [17, {"a": "b"}, [1, 2], [{"content": "nobody speaks"}], [{"role": "user", "content": 3}]],
)
def test_other_values_are_no_text(value):
    assert text_of({"x": value}, text_column="x") == Dropped("not_text", "n#0")


@pytest.mark.parametrize("value", ["a\ud800b", b"a\xffb"])
def test_broken_text_is_dropped(value):
    assert text_of({"x": value}, text_column="x") == Dropped("broken_utf8", "n#0")
