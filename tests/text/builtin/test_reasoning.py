"""Each puzzle is read back from its text and solved by trying everything."""

import hashlib
import math
import re
from itertools import permutations, product

import pytest

from yxanul.text.sources.builtin import reasoning
from yxanul.text.sources.builtin.puzzles.order import SCALES
from yxanul.text.sources.builtin.word_files import names

GOLDEN = {0: "1eb28805385af084", 12345: "37719baed160f96c"}
NAME = re.compile("|".join(rf"\b{name}\b" for name in names()))


@pytest.fixture(scope="module")
def sample():
    return [reasoning.puzzle(n, 3) for n in range(3000)]


def people_in(text: str) -> list[str]:
    return list(dict.fromkeys(NAME.findall(text)))


def parts(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return found.groups()


def solve_order(question: str) -> set[str]:
    people = people_in(question)
    more = {scale.more: 1 for scale in SCALES} | {scale.less: -1 for scale in SCALES}
    ends = {scale.most: 1 for scale in SCALES} | {scale.least: -1 for scale in SCALES}
    clues = re.findall(r"(\w+) is (\w+) than (\w+)\.", question)
    second, end = parts(r"Who is (?:in )?the (second )?(\w+)\?", question)
    answers = set()
    for row in permutations(people):
        if all((row.index(b) - row.index(a)) * more[word] > 0 for a, word, b in clues):
            place = len(row) // 2 if end == "middle" else int(second is not None)
            answers.add(row[place] if ends.get(end, 1) > 0 else row[-1 - place])
    return answers


def solve_owners(question: str) -> set[str]:
    people = people_in(question)
    clues = question[question.index("same.") :]
    things = re.findall(r"the ((?:\w+ )?\w+?)(?=,| and|\.)", question[: question.index("same.")])
    things = things[:3]
    asked = clues[clues.rindex(".") + 1 :]
    answers = set()
    for mine in permutations(things):
        has = dict(zip(people, mine, strict=True))
        if all(owner_clue_holds(clue.strip(), has) for clue in clues.split(".")[1:-1]):
            thing = next((t for t in things if f"the {t}?" in asked), None)
            who = NAME.findall(asked)
            answers |= {n for n in people if has[n] == thing} if thing else {"the " + has[who[0]]}
    return answers


def owner_clue_holds(clue: str, has: dict[str, str]) -> bool:
    thing = clue[clue.index("the ") + 4 :]
    is_denied = " not " in clue or clue.startswith("Neither")
    return all((has[name] == thing) is not is_denied for name in NAME.findall(clue))


def solve_liars(question: str) -> set[str]:
    people = people_in(question)
    claims = re.findall(r'(\w+) says: "(\w+) (lies|tells the truth)\."', question)
    odd_lies = "Who is the liar?" in question
    answers = set()
    for odd in people:
        lies = {name: (name == odd) is odd_lies for name in people}
        if all((lies[b] is (word == "lies")) is not lies[a] for a, b, word in claims):
            answers.add(odd)
    return answers


def solve_syllogism(question: str) -> set[str]:
    """Try every kind of thing that there may be: which groups the person can be in."""
    who = people_in(question)[0]
    is_plural = re.findall(r"\b(?:All|Some) (\w+)s are (\w+)s", question)
    groups = sorted(
        {word for pair in is_plural for word in pair}
        | set(re.findall(r"\bNo (\w+) is", question))
        | set(re.findall(r"\ba (\w+)", question))
    )
    possible = set()
    for member in product((False, True), repeat=len(groups)):
        inside = dict(zip(groups, member, strict=True))
        rules = [
            *(
                not inside[a] or inside[b]
                for a, b in re.findall(r"All (\w+)s are (\w+)s", question)
            ),
            *(
                not (inside[a] and inside[b])
                for a, b in re.findall(r"No (\w+) is a (\w+)", question)
            ),
            *(inside[a] for a in re.findall(rf"{who} is a (\w+)\.", question)),
            *(not inside[a] for a in re.findall(rf"{who} is not a (\w+)\.", question)),
        ]
        if all(rules):
            possible.add(inside[parts(rf"Is {who} a (\w+)\?", question)[0]])
    return {"we cannot know" if len(possible) == 2 else "yes" if possible == {True} else "no"}


def solve_tracking(question: str) -> set[str]:
    told, _, asked = question.rpartition(". ")
    where: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    people, away = people_in(question), set()
    for sentence in told.split(". "):
        who = people_in(sentence)[0]
        if "leaves" in sentence or "goes out" in sentence:
            away.add(who)
        elif "comes back" in sentence:
            away.discard(who)
        else:
            thing = parts(r"(?:puts|lays|moves|takes) the (\w+)", sentence)[0]
            spot = parts(r"(?:into|in|to) the (\w+)\.?$", sentence)[0]
            start = re.search(r"(?:from|out of) the (\w+)", sentence)
            assert start is None or where[thing][-1] == start.group(1)
            where.setdefault(thing, []).append(spot)
            seen |= {name: spot for name in people if name not in away}
    thing = parts(r"the (\w+)", asked)[0]
    if "look for" in asked:
        return {"in the " + seen[people_in(asked)[0]]}
    if "before" in asked:
        later = parts(r"in the (\w+)\?", asked)[0]
        return {"in the " + where[thing][where[thing].index(later) - 1]}
    return {"in the " + where[thing][-1]}


SOLVERS = {
    "order_three": solve_order,
    "order_four": solve_order,
    "owners": solve_owners,
    "liars": solve_liars,
    "syllogism": solve_syllogism,
    "tracking": solve_tracking,
}


def test_every_kind_has_a_solver_and_comes_up(sample):
    assert set(SOLVERS) == {puzzle.kind for puzzle in sample}


def test_each_puzzle_has_one_solution_and_it_is_the_answer(sample):
    for puzzle in sample:
        assert SOLVERS[puzzle.kind](puzzle.question) == {puzzle.answer}, puzzle.text()


def test_all_answers_of_a_kind_come_up(sample):
    answers = [puzzle.answer for puzzle in sample if puzzle.kind == "syllogism"]
    assert min(answers.count(answer) for answer in ("yes", "no", "we cannot know")) > 80
    first = [
        puzzle.answer == people_in(puzzle.question)[0]
        for puzzle in sample
        if puzzle.kind in ("liars", "order_three")
    ]
    assert 0.25 < sum(first) / len(first) < 0.42  # the order of the names does not tell


def test_thoughts_end_at_the_answer_and_quote_the_question(sample):
    for puzzle in sample:
        last = puzzle.thoughts[-1]
        if puzzle.kind.startswith("order") or puzzle.kind == "liars":
            assert last.startswith(f"So {puzzle.answer} "), puzzle.text()
        if puzzle.kind == "owners":
            told = " ".join(puzzle.thoughts)
            assert all(name in told for name in people_in(puzzle.question))
        strangers = set(NAME.findall(puzzle.text())) - set(people_in(puzzle.question))
        assert not strangers


def test_thoughts_about_liars_rule_out_all_but_one(sample):
    for puzzle in sample:
        if puzzle.kind == "liars":
            tried = puzzle.thoughts[:3]
            assert sum(thought.endswith(" No.") for thought in tried) == 2
            fits = next(thought for thought in tried if thought.endswith("fit."))
            assert fits.startswith(f"If {puzzle.answer} ")


def test_thoughts_about_an_order_are_the_clues_turned_one_way(sample):
    for puzzle in sample:
        if puzzle.kind.startswith("order"):
            row = puzzle.thoughts[-2].partition(": ")[2].rstrip(".").split(", ")
            for thought in puzzle.thoughts[:-2]:
                upper, lower = parts(r"(\w+) is \w+ than (\w+)(?:\.|, as)", thought)
                assert row.index(lower) == row.index(upper) + 1


@pytest.mark.parametrize("index", GOLDEN)
def test_a_puzzle_never_changes(index):
    text = reasoning.document(index, 0)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[index]
    assert text != reasoning.document(index, 1)


def test_twenty_thousand_puzzles_are_all_different():
    assert reasoning.plans().count >= 100_000
    assert len({reasoning.document(n, 0) for n in range(20_000)}) == 20_000


def test_form(sample, flaws):
    for puzzle in sample:
        for line in (puzzle.question, *puzzle.thoughts):
            assert not flaws(line), line


def test_hard_for_xz_and_easy_for_who_knows_the_rules(
    counting_draws, xz_bits_per_byte, monkeypatch
):
    counters, texts = [], []

    def make_draws(seed):
        counters.append(counting_draws(seed))
        return counters[-1]

    monkeypatch.setattr(reasoning, "Draws", make_draws)
    for n in range(1200):
        texts.append(reasoning.puzzle(n, 0).text())
    bits = sum(draws.bits for draws in counters)
    bits += len(texts) * math.log2(reasoning.plans().count)
    choice = bits / sum(len(text.encode()) for text in texts)
    assert xz_bits_per_byte(texts) > 2.5 * choice
    assert choice < 0.35
