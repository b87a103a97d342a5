"""The worst documents of a domain, and what its surprise ratio says."""

import math

import pytest

from yxanul.eval.domains import DomainScore, Surprise, surprises
from yxanul.eval.score import Score


def domain(*documents):
    """A domain of documents of (size in bytes, bits per byte)."""
    scores = [Score(bits * math.log(2), tokens=size, bytes=size) for size, bits in documents]
    return DomainScore(Score.pooled(scores), scores, "text {}".format)


def worst(count, *documents):
    return [one.number for one in domain(*documents).worst(count)]


def test_the_worst_have_the_most_bits_per_byte():
    documents = [(300, 1.0), (400, 3.0), (200, 2.0), (1000, 0.5)]
    assert worst(3, *documents) == [1, 2, 0]
    assert worst(0, *documents) == [] and worst(9, *documents) == [1, 2, 0, 3]
    (first,) = domain(*documents).worst(1)
    assert (first.score.bits_per_byte, first.text) == (pytest.approx(3.0), "text 1")
    assert first.to_dict().items() >= {"document": 1, "bytes": 400, "text": "text 1"}.items()


def test_short_documents_are_not_among_the_worst():
    assert worst(1, (199, 9.0), (300, 1.0), (300, 2.0)) == [2]
    # Where most are short, those of the median size count.
    assert worst(2, (3, 9.0), (20, 5.0), (10, 1.0), (11, 2.0), (9, 8.0)) == [1, 3]
    assert worst(1, (5, 1.0)) == [0]


def test_a_document_that_is_not_finite_is_the_worst():
    assert worst(2, (300, 1.0), (300, math.nan), (300, 2.0)) == [1, 2]


@pytest.mark.parametrize(
    ("ratio", "strength", "advice"),
    [
        (math.inf, "weak", "more"),
        (1.51, "weak", "more"),
        (1.5, None, "more"),
        (1.3, None, None),
        (1.0, None, None),
        (0.85, None, None),
        (0.84, None, "less"),
        (0.8, None, "less"),
        (0.79, "strong", "less"),
        (math.nan, None, None),
    ],
)
def test_strength_and_advice(ratio, strength, advice):
    found = Surprise(ratio)
    assert (found.strength, found.mix_advice) == (strength, advice)
    facts = found.to_dict()
    assert (facts["strength"], facts["mix_advice"]) == (strength, advice)
    assert str(found) == ", ".join(filter(None, [strength, advice and f"{advice} in the mix"]))


def test_the_surprise_of_a_domain_is_against_the_mean_of_the_sources():
    found = surprises({"easy": domain((300, 1.0)), "hard": domain((300, 3.0))})
    assert found["easy"].ratio == pytest.approx(2 / 5) and found["hard"].strength == "weak"
    assert surprises({"one": domain((300, 1.0))}) == {}


def test_text_that_is_no_source_has_no_share_of_the_mix_to_change():
    both = {"mine": domain((300, 1.0)), "other.txt": domain((300, 3.0))}
    assert [str(one) for one in surprises(both, ["other.txt"]).values()] == [
        "",
        "weak",
    ]
