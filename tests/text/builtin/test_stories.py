import hashlib
import math
import re

import pytest

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin import stories
from yxanul.text.sources.builtin.cast import animals, children
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.plans import Plans
from yxanul.text.sources.builtin.tales import speech, tales

GOLDEN = {0: "d2f79b71ba025bb3", 12345: "731d0397828bcdb0"}
CAST = {person.name for person in (*children(), *animals())}


@pytest.fixture(scope="module")
def sample() -> list[tuple[stories.Plan, str]]:
    return [(stories.plan(n, 3), stories.document(n, 3)) for n in range(4000)]


@pytest.mark.parametrize("index", GOLDEN)
def test_a_story_never_changes(index):
    text = stories.document(index, 0)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[index]
    assert text != stories.document(index, 1)


@pytest.mark.slow
def test_forty_thousand_stories_are_all_different():
    assert len({stories.document(n, 0) for n in range(40_000)}) == 40_000


def test_two_hundred_thousand_plans_are_all_different():
    assert stories.num_stories() >= 200_000
    sizes = [[len(slot) for slot in tale.slots] for tale in tales()]
    assert {heroes for heroes, *_ in sizes} == {40 * 39, 40 * 39 + 16 * 15}
    plans = Plans(sizes)
    assert plans.count == stories.num_stories()
    dealt = {(kind, *choices) for kind, choices in (plans.plan(n, 0) for n in range(200_000))}
    assert len(dealt) == 200_000


def test_every_main_choice_is_told():
    """Another option in any slot makes another text, whatever else is drawn."""
    for tale in tales():
        for n in range(60):
            choice = Draws(derive_seed(9, tale.name, n))
            words = dict(speech())
            for slot in tale.slots:
                words |= choice.pick(slot)
            told = stories.tell(stories.Plan(tale, words), Draws(n))
            for slot in tale.slots:
                other = choice.pick(
                    [option for option in slot if not option.items() <= words.items()]
                )
                plan = stories.Plan(tale, {**words, **other})
                assert stories.tell(plan, Draws(n)) != told


def test_form(sample, flaws):
    for _, text in sample:
        assert not flaws(text), text


def test_length_and_paragraphs(sample):
    lengths = [len(text.split()) for _, text in sample]
    assert min(lengths) >= 90
    assert max(lengths) <= 220
    single = sum("\n" not in text for _, text in sample) / len(sample)
    assert 0.2 < single < 0.3


def test_names_and_things_carry_through(sample):
    for plan, text in sample:
        words = plan.words
        assert text.count(str(words["hero"])) >= 2, text
        assert re.search(rf"\b{words['friend']}\b", text), text
        for key in ("elder", "thing", "place", "gift", "owner", "animal", "spot"):
            if key in words:
                assert str(words[key]) in text, (key, text)
        strangers = CAST - {words["hero"], words["friend"]}
        assert not strangers & set(re.findall(r"[A-Z][a-z]+", text)), text


def test_pronouns_agree(sample):
    """Where everybody in a story is of one sex, no pronoun of the other one occurs."""
    checked = 0
    for plan, text in sample:
        words = plan.words
        people = {words["he"], words["f_he"], words.get("e_he", words["he"])}
        if len(people) > 1 or "owner" in words or plan.tale.name == "rescue":
            continue
        text = re.sub(r"(An old man|A kind woman) .*? (he|she) said\.", "", text)
        wrong = r"\b(he|him|his|himself)\b" if people == {"she"} else r"\b(she|her|herself)\b"
        assert not re.search(wrong, text, re.IGNORECASE), text
        checked += 1
    assert checked > 500


def test_few_simple_words(sample, words_of):
    vocabulary = {word for _, text in sample for word in words_of(text)}
    assert len(vocabulary) <= 1200


def test_every_beat_has_many_ways():
    for tale in tales():
        beats = [beat for paragraph in tale.paragraphs for beat in paragraph]
        assert sum(len(beat) >= 5 for beat in beats) >= len(beats) - 1, tale.name


def test_all_tales_come_up_equally_often(sample):
    counts = [sum(plan.tale.name == tale.name for plan, _ in sample) for tale in tales()]
    assert min(counts) > 300


def test_hard_for_xz_and_easy_for_who_knows_the_rules(sample, counting_draws, xz_bits_per_byte):
    bits = num_bytes = 0.0
    for n in range(500):
        draws = counting_draws(derive_seed(0, stories.DOMAIN, n))
        num_bytes += len(stories.tell(stories.plan(n, 0), draws).encode())
        bits += draws.bits + math.log2(stories.num_stories())
    assert bits / num_bytes < 0.35
    assert 1.2 < xz_bits_per_byte([text for _, text in sample]) < 1.7
