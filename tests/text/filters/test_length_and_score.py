import math
from decimal import Decimal

import numpy as np
import pytest
from pydantic import ValidationError

from yxanul.text.documents import Document
from yxanul.text.filters.columns import token_bounds
from yxanul.text.filters.config import (
    LengthFilterSettings,
    RepetitionFilterSettings,
    ScoreFilterSettings,
)
from yxanul.text.filters.table import FILTERS


def length_cause(text, **bounds):
    return FILTERS["length"](LengthFilterSettings(**bounds)).cause(Document("d", text))


def score_cause(scores, **bounds):
    one = FILTERS["score"](ScoreFilterSettings(column="score", **bounds))
    return one.cause(Document("d", "text", scores))


@pytest.mark.parametrize(
    ("chars", "cause"), [(9, "too_short"), (10, None), (20, None), (21, "too_big")]
)
def test_bounds_of_characters_belong_to_what_stays(chars, cause):
    assert length_cause("é" * chars, min_chars=10, max_chars=20) == cause


def test_one_bound_is_enough_and_tokens_are_not_looked_at():
    assert length_cause("a", max_chars=1) is None
    assert length_cause("ab", max_chars=1) == "too_big"
    assert length_cause("a", min_tokens=1000) is None


def test_bounds_of_tokens_are_those_of_all_filters():
    filters = [
        LengthFilterSettings(min_tokens=5, max_tokens=100),
        LengthFilterSettings(min_tokens=7),
        LengthFilterSettings(min_chars=1, max_tokens=90),
        ScoreFilterSettings(column="s", at_least=1),
    ]
    assert token_bounds(filters) == (7, 90)
    assert token_bounds(filters[1:2]) == (7, math.inf)
    assert token_bounds(filters[3:]) == token_bounds(()) == token_bounds(None) == (0, math.inf)


@pytest.mark.parametrize(
    ("score", "cause"),
    [
        (math.nextafter(3.5, 0), "score"),
        (3.5, None),
        (4.5, None),
        (math.nextafter(4.5, 9), "score"),
        ("3.5", None),
        (" 4 ", None),
        (4, None),
        (Decimal("3.5"), None),
        (np.float32(3.5), None),
        (math.nan, "score"),
        ("nan", "score"),
        (None, "score"),
        ("good", "score"),
        ([4.0], "score"),
        (10**400, "score"),
    ],
)
def test_bounds_of_scores(score, cause):
    assert score_cause({"score": score}, at_least=3.5, at_most=4.5) == cause


def test_a_score_is_needed_and_must_be_finite():
    assert score_cause({}, at_least=0) == "score"
    assert score_cause({"other": 4.0}, at_least=0) == "score"
    assert score_cause({"score": math.inf}, at_least=0) == "score"
    assert score_cause({"score": -math.inf}, at_most=0) == "score"
    assert score_cause({"score": "-1e9"}, at_most=0) is None


@pytest.mark.parametrize("shares", [{0: 0.1}, {2: 0.0}, {2: 1.1}, {"two": 0.1}])
def test_shares_without_sense_are_refused(shares):
    with pytest.raises(ValidationError):
        RepetitionFilterSettings(top_ngram_chars=shares)


def test_shares_by_n_are_read_from_json_strictly():
    text = '{"kind": "repetition", "top_ngram_chars": {"2": 0.5}}'
    settings = RepetitionFilterSettings.model_validate_json(text, strict=True)
    assert settings.top_ngram_chars == {2: 0.5}
