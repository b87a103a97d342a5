import hashlib
import math
import re
from dataclasses import replace

import pytest

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin import stories
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.stories import plans, tales
from yxanul.text.sources.builtin.word_files import with_forms

GOLDEN = {0: "df92862407d79c5f", 12345: "ec6817338ccc4f15"}
CAST = {str(tale.cast[who]) for tale in tales() for who in ("hero", "friend")}


@pytest.fixture(scope="module")
def sample() -> list[tuple[stories.Outline, str]]:
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
    assert plans().count >= 200_000
    dealt = {(kind, *choices) for kind, choices in (plans().plan(n, 0) for n in range(200_000))}
    assert len(dealt) == 200_000


def test_every_main_choice_is_told():
    """Another option of any slot, or another way to tell a moment, makes another text."""
    for tale in tales():
        for n in range(60):
            draws = Draws(derive_seed(9, tale.name, n))
            choices = [draws.below(len(choice)) for choice in tale.choices]
            told = stories.tell(stories.chosen(tale, choices), Draws(n))
            for place, choice in enumerate(tale.choices):
                other = (choices[place] + 1 + draws.below(max(1, len(choice) - 1))) % len(choice)
                if other != choices[place]:
                    changed = [*choices[:place], other, *choices[place + 1 :]]
                    assert stories.tell(stories.chosen(tale, changed), Draws(n)) != told


def test_nobody_is_in_two_tales():
    names = [tale.cast[who] for tale in tales() for who in ("hero", "friend")]
    assert len(set(names)) == len(names)


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
    for n, (plan, _) in enumerate(sample):
        if "owner" in plan.words or plan.tale.name == "rescue":
            continue
        he = str(plan.words["he"])
        words = {**plan.words, **with_forms({"f_he": he, "e_he": he})}
        text = stories.tell(replace(plan, words=words), Draws(n))
        text = re.sub(r"(An old man|A kind woman) .*? (he|she) said\.", "", text)
        wrong = r"\b(he|him|his|himself)\b" if he == "she" else r"\b(she|her|herself)\b"
        assert not re.search(wrong, text, re.IGNORECASE), text


def test_few_simple_words(sample, words_of):
    vocabulary = {word for _, text in sample for word in words_of(text)}
    assert len(vocabulary) <= 1200


def test_every_beat_has_many_ways():
    for tale in tales():
        beats = [beat for paragraph in tale.paragraphs for beat in paragraph]
        assert sum(len(beat) >= 4 for beat in beats) >= len(beats) - 3, tale.name


def test_all_tales_come_up_equally_often(sample):
    counts = [sum(plan.tale.name == tale.name for plan, _ in sample) for tale in tales()]
    assert min(counts) > 300


def test_hard_for_xz_and_easy_for_who_knows_the_rules(sample, counting_draws, xz_bits_per_byte):
    bits = num_bytes = 0.0
    for n in range(500):
        draws = counting_draws(derive_seed(0, stories.DOMAIN, n))
        num_bytes += len(stories.tell(stories.plan(n, 0), draws).encode())
        bits += draws.bits + math.log2(plans().count)
    assert bits / num_bytes < 0.35
    assert 0.8 < xz_bits_per_byte([text for _, text in sample]) < 1.7
