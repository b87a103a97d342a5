"""What a person who edits the words may get wrong is said with the file and the entry."""

import copy
import subprocess
import sys

import pytest

from yxanul.text.sources import builtin_source
from yxanul.text.sources.builtin.cast import children, with_forms
from yxanul.text.sources.builtin.grammar import compile_template, fields
from yxanul.text.sources.builtin.math_kinds import kinds, make_kind
from yxanul.text.sources.builtin.tales import make_tale, tales
from yxanul.text.sources.builtin.word_files import FOLDER, parse_words, read_words, ways


def test_words_stay_text():
    assert parse_words("at: on\nanswer: no\ncount: [1, 2]", "x") == {
        "at": "on",
        "answer": "no",
        "count": ["1", "2"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("end: |\n  The end.\nend: |\n  Bye.\n", r"x\.yaml: the key 'end' stands twice.* line 3"),
        ("- one\n- two\n", r"x\.yaml has to be a mapping"),
        ("", r"x\.yaml has to be a mapping"),
        ("end: [open\n", r"(?s)x\.yaml is not valid YAML: .*line"),
    ],
)
def test_a_broken_file(text, message):
    with pytest.raises(ValueError, match=message):
        parse_words(text, "x.yaml")


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
    with pytest.raises(ValueError, match=r"'o_he' .*'it'"):
        with_forms({"o_he": "it"})


def test_fields_are_found_inside_choices():
    assert fields(compile_template("{a} [x {b}|[{c}|]] y")) == {"a", "b", "c"}


def change(words, key, value):
    if value is None:
        del words[key]
    else:
        words[key] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cast", {"hero": "Mia"}, "the cast has to fill hero, kind, he, friend, friend_full, f_he"),
        ("cast", None, "'cast' is missing"),
        ("choices", None, "'choices' is missing"),
        ("paragraphs", ["opening", "habit"], "list of moments"),
        ("fears", "the dark", "'fears' .*list"),
        ("fears", [], "'fears' has to fill"),
        ("fears", [{"fear": "bees"}, {"bear": "bees"}], "every option of 'fears' has to fill"),
        ("fears", [{"fear": "bees"}], r"nothing fills \{after\}, \{moment\}, \{step\}, \{why\}"),
        ("frozen", None, "'frozen' is missing"),
        ("frozen", "", "'frozen' names no"),
        ("frozen", "{hero} [shook|ran.", "'frozen', a bracket"),
        ("frozen", "{nobody} {moment}", r"nothing fills \{nobody\}"),
        ("unheard", "Never told.", "neither choices nor paragraphs name unheard"),
    ],
)
def test_a_mistake_in_a_tale(key, value, message):
    own = copy.deepcopy(read_words("tales/fear"))
    change(own, key, value)
    with pytest.raises(ValueError, match=rf"tales/fear\.yaml: .*{message}"):
        make_tale("fear", own, read_words("shared"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("questions", None, "'questions' is missing"),
        ("questions", "{name} and {other} have {a} [apples", "bracket"),
        ("questions", "{name} has {z} {things}.", "nothing fills z"),
        (
            "numbers",
            {"a": ["2", "many"], "b": ["2", "3"]},
            r"\['2', 'many'\] is not \[first, last\]",
        ),
        ("numbers", {"a": ["5", "2"], "b": ["2", "3"]}, r"\['5', '2'\] is not \[first, last\]"),
        ("steps", [{"So": "{a} + {b} = {r1}"}], "has to be text"),
        ("steps", ["Just {a}."] * 2, "r2, the answer"),
        ("steps", [""], "has to be text"),
        ("words", {"thing/things": "toys"}, "'thing/things' has to be a list of lists, not toys"),
        ("numbers", {"a": ["2", "3"]}, "nothing is called 'b'"),
        ("work_out", ["r1 = a / b"], "'r1 = a / b' .*formula"),
        ("work_out", ["r1 = a"], "'r1 = a' .*formula"),
        ("words", {"thing/things": ["planets"]}, "nothing is called 'planets'"),
        ("words", {"thing": ["toys", "food"]}, "not every entry of toys, food fills thing"),
    ],
)
def test_a_mistake_in_a_kind_of_problem(key, value, message):
    words = read_words("math")
    given = dict(words["kinds"][0])
    change(given, key, value)
    with pytest.raises(ValueError, match=f"math.yaml: gain: .*{message}"):
        make_kind(given, words["lists"])


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
