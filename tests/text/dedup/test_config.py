import pytest
from pydantic import ValidationError

from yxanul.text.dedup.config import DeduplicateSettings, NearSettings


def test_exact_alone_is_the_default():
    settings = DeduplicateSettings()
    assert settings.exact and settings.near is None


def test_an_empty_near_has_the_usual_values():
    settings = DeduplicateSettings.model_validate({"near": {}})
    assert settings.near == NearSettings(threshold=0.8, ngram=5, permutations=128)


@pytest.mark.parametrize(
    "values",
    [
        {"exact": False},
        {"near": {"treshold": 0.8}},
        {"near": {"threshold": 1.01}},
        {"near": {"threshold": 0}},
        {"near": {"ngram": 0}},
        {"near": {"permutations": 8}},
        {"fuzzy": True},
    ],
)
def test_what_cannot_work_is_refused(values):
    with pytest.raises(ValidationError):
        DeduplicateSettings.model_validate(values)
