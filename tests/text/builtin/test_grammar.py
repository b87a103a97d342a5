import pytest

from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.grammar import compile_template, compile_words, expand


def told(source, words=None, seed=0):
    out = []
    expand(compile_template(source), words or {}, Draws(seed).below, out)
    return "".join(out)


def test_plain_text_and_fields():
    assert told("Hello, {who}!", {"who": "Mia"}) == "Hello, Mia!"


def test_choices_nest_and_may_be_empty():
    texts = {told("a[ b[1|2]|] c", seed=seed) for seed in range(60)}
    assert texts == {"a b1 c", "a b2 c", "a c"}


def test_words_may_be_templates():
    words = compile_words({"name": "Tom", "deed": "{name} [ran|sang]"})
    texts = {told("{deed}.", words, seed) for seed in range(30)}
    assert texts == {"Tom ran.", "Tom sang."}


@pytest.mark.parametrize("source", ["a [b|c", "a ] b", "a | b", "a {b"])
def test_broken_templates_are_refused(source):
    with pytest.raises(ValueError):
        compile_template(source)


def test_a_field_that_nobody_fills_is_an_error():
    with pytest.raises(KeyError):
        told("{nobody}")
