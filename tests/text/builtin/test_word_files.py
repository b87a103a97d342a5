"""The words that come with the package are complete, and read when they are needed."""

import re
import subprocess
import sys

import pytest
import yaml

from yxanul.text.sources import builtin_source
from yxanul.text.sources.builtin.grammar import compile_template
from yxanul.text.sources.builtin.math_problems import kinds
from yxanul.text.sources.builtin.stories import tales
from yxanul.text.sources.builtin.word_files import (
    FOLDER,
    children,
    read_words,
    ways,
    with_forms,
)

FILES = sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml")
)


def strings(value):
    """Yield all texts in a value of a word file."""
    if isinstance(value, str):
        yield value
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def places(value):
    return {place for text in strings(value) for place in re.findall(r"\{(\w+)\}", text)}


def test_words_stay_text():
    assert all(isinstance(text, str) for name in FILES for text in strings(read_words(name)))
    assert "practice the piano" in {text.split("/")[-1] for text in strings(read_words("math"))}


@pytest.mark.parametrize("name", FILES)
def test_no_key_stands_twice(name):
    nodes = [yaml.compose((FOLDER / f"{name}.yaml").read_text(), yaml.SafeLoader)]
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert len(set(keys)) == len(keys)
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def test_ways_are_lines_and_long_ones_go_on_indented():
    assert ways("One way\n  that is long.\n(nothing)\n\n{He} ran.\n") == (
        "One way that is long.",
        "",
        "{He} ran.",
    )


def test_forms_that_follow_from_a_word():
    words = with_forms({"o_he": "she", "sound": "meow", "seen": "[a cat|a dog]"})
    assert (words["o_him"], words["o_his"], words["O_he"]) == ("her", "her", "She")
    assert words["Sound"] == "Meow"
    assert "Seen" not in words


@pytest.mark.parametrize("tale", tales(), ids=lambda tale: tale.name)
def test_a_tale_is_complete(tale):
    own, shared = read_words(f"tales/{tale.name}"), read_words("shared")
    words = {**shared, **own}
    told = {moment for paragraph in own["paragraphs"] for moment in paragraph}
    assert own.keys() <= {*own["choices"], *told, "cast", "choices", "paragraphs"}
    assert tale.cast.keys() >= {"hero", "kind", "he", "friend", "friend_full", "f_he"}
    for options in (words[name] for name in own["choices"]):
        assert options and all(option.keys() == options[0].keys() for option in options)
    assert all(beat for paragraph in tale.paragraphs for beat in paragraph)
    needed = places([words[name] for name in (*told, *own["choices"])])
    speech = shared["speech"]
    needed |= places([speech[name] for name in needed & speech.keys()])
    filled = {*speech, *tale.cast, *(field for slot in tale.slots for field in slot[0])}
    assert needed <= filled


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_a_kind_of_problem_is_complete(kind):
    (given,) = (given for given in read_words("math")["kinds"] if given["name"] == kind.name)
    numbers = kind.work_out({letter: span[0] for letter, span in kind.ranges.items()})
    people = {"name", "other", "he", "He", "him"}
    assert places([given["questions"], given["steps"]]) <= {
        *numbers,
        *kind.things[0],
        *people,
    }
    assert f"r{len(kind.steps)}" in numbers, "the last step results in the answer"


def test_a_bracket_left_open_is_an_error():
    with pytest.raises(ValueError, match="left open"):
        compile_template("{hero} [shook|ran.")


def test_nothing_stands_twice_where_it_would_make_the_same_text():
    names = [person.name for person in children()]
    assert len(set(names)) == len(names)
    for options in [slot for tale in tales() for slot in tale.slots] + [
        kind.things for kind in kinds()
    ]:
        assert all(options.count(option) == 1 for option in options)


def test_no_file_is_read_before_a_text_is_wanted():
    code = (
        "import sys\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('.yaml'):\n"
        "        print(args[0])\n"
        "sys.addaudithook(hook)\n"
        "import yxanul.text.sources.builtin_source\n"
        "from yxanul.text.sources.builtin import DOMAINS, SYNTHETIC_NOTICE\n"
        "print('imported')\n"
        "DOMAINS['stories'](0, 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    read = run.stdout.splitlines()
    assert read[0] == "imported"
    assert len(read) == 2 + len(tales())  # the shared words and the tales, each once


def test_the_mark_of_the_source_knows_the_words(tmp_path, monkeypatch):
    """Other words make other text, so that shards of the old text must not be taken for it."""
    folder = tmp_path / "builtin" / "words"
    folder.mkdir(parents=True)
    cast = folder / "cast.yaml"
    monkeypatch.setattr(builtin_source, "__file__", str(tmp_path / "builtin_source.py"))
    marks = []
    for text in ((FOLDER / "cast.yaml").read_text(), "girls: [Ada]\n"):
        cast.write_text(text)
        builtin_source._code_digest.cache_clear()
        marks.append(builtin_source._code_digest())
    builtin_source._code_digest.cache_clear()
    assert marks[0] != marks[1]
