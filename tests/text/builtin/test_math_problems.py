import hashlib
import math
import operator
import re

import pytest

from yxanul.text.sources.builtin import math_problems
from yxanul.text.sources.builtin.math_problems import kinds
from yxanul.text.sources.builtin.word_files import read_words, ways

GOLDEN = {0: "b11e3ebe5989701d", 12345: "975b97aa135cd760"}
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
# What each kind asks for, from the numbers in its question: written apart from the generator.
WANTED = {
    "gain": lambda a, b: a + b,
    "loss": lambda a, b: a - b,
    "groups": lambda a, b: a * b,
    "sharing": lambda a, b: a // b,
    "difference": lambda a, b: a - b,
    "more_than": lambda a, b: a + a + b,
    "times_as_many": lambda a, b: a + a * b,
    "gain_and_loss": lambda a, b, c: a + b - c,
    "change": lambda a, b, c: c - a * b,
    "shopping": lambda a, b, c, d: d - (a * b + c),
    "clock": lambda a, b: a + b,
    "minutes": lambda a, b, c: (a + c) * b,
    "ages": lambda a, b, c: a + b + c,
    "packs_left": lambda a, b, c: a * b - c,
    "share_the_rest": lambda a, b, c: (a - b) // c,
    "harvest": lambda a, b, c, d: a * b * c - d,
    "saving": lambda a, b, c, d: d - c - a * b,
}


@pytest.fixture(scope="module")
def sample() -> list[math_problems.Problem]:
    return [math_problems.problem(n, 3) for n in range(2000)]


@pytest.mark.parametrize("index", GOLDEN)
def test_a_problem_never_changes(index):
    text = math_problems.document(index, 0)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[index]
    assert text != math_problems.document(index, 1)


def test_twenty_thousand_problems_are_all_different():
    assert math_problems.plans().count >= 100_000
    assert len({math_problems.document(n, 0) for n in range(20_000)}) == 20_000


def test_every_equation_holds_and_the_last_one_is_the_answer(sample):
    for problem in sample:
        question, _, rest = problem.text().partition("\nAnswer: ")
        worked, _, final = rest.partition("\n#### ")
        equations = EQUATION.findall(worked)
        for left, sign, right, result in equations:
            assert SIGNS[sign](int(left), int(right)) == int(result), rest
        assert len(equations) == len(problem.steps) == worked.count("=")
        assert equations[-1][3] == final == str(problem.answer)
        assert question.startswith("Question: ")
        assert question.endswith("?")


def test_steps_use_only_numbers_that_are_known(sample):
    for problem in sample:
        known = set(re.findall(r"\d+", problem.question))
        for step in problem.steps:
            for left, _, right, result in EQUATION.findall(step):
                assert {left, right} <= known, problem.text()
                known.add(result)


def test_the_answer_is_what_the_question_asks(sample):
    assert {problem.kind for problem in sample} == {kind.name for kind in kinds()} == set(WANTED)
    for problem in sample:
        given = {k: n for k, n in problem.numbers.items() if not k.startswith("r")}
        assert sorted(map(str, given.values())) == sorted(re.findall(r"\d+", problem.question))
        assert WANTED[problem.kind](**given) == problem.answer, problem.text()
        assert problem.answer > 0


def fields(text):
    return set(re.findall(r"\{(\w+)\}", text))


def test_every_form_of_a_question_names_all_it_is_given():
    for kind, given in zip(kinds(), read_words("math")["kinds"], strict=True):
        letters = {*"abcd"} & fields(given["questions"])
        assert set(kind.ranges) <= letters | {"r0", "r1", "r2", "r3"}
        for question in ways(given["questions"]):
            assert {*letters, "name", "other"} <= fields(question), (kind.name, question)
            named = kind.things[0].keys()
            assert not named or named & fields(question)


def test_form(sample, flaws):
    for problem in sample:
        assert not flaws(problem.question), problem.question
        assert not [step for step in problem.steps if flaws(step)], problem.steps


def test_hard_for_xz_and_easy_for_who_knows_the_rules(
    counting_draws, xz_bits_per_byte, monkeypatch
):
    counters, texts = [], []

    def make_draws(seed):
        counters.append(counting_draws(seed))
        return counters[-1]

    monkeypatch.setattr(math_problems, "Draws", make_draws)
    for n in range(2000):
        texts.append(math_problems.problem(n, 0).text())
    bits = sum(draws.bits for draws in counters)
    bits += len(texts) * math.log2(math_problems.plans().count)
    choice = bits / sum(len(text.encode()) for text in texts)
    assert xz_bits_per_byte(texts) > 2.5 * choice
    assert choice < 0.35
