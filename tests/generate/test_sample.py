import pytest
import torch
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.generate.config import SampleSettings
from yxanul.generate.sample import FILTERS, filtered, penalise, sample

NOTHING = torch.zeros(1, 0, dtype=torch.int64)


def logits_of(*shares):
    return torch.tensor([shares]).log()


def kept(logits, **settings):
    return filtered(logits, SampleSettings(**settings)).isfinite()[0].tolist()


def test_filters_are_settings():
    assert set(FILTERS) <= set(SampleSettings.model_fields)


def test_top_k():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    assert kept(logits, top_k=2) == [False, True, False, True]
    assert kept(logits, top_k=9) == [True] * 4


def test_top_p_keeps_the_token_that_crosses_the_sum():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    assert kept(logits, top_p=0.65) == [False, True, False, True]
    assert kept(logits, top_p=0.75) == [False, True, True, True]
    assert kept(logits, top_p=1.0) == [True] * 4
    assert kept(logits, top_p=1e-9) == [False, True, False, False]
    assert kept(logits, top_p=0) == [False, True, False, False]


def test_min_p_is_a_share_of_the_likeliest():
    logits = logits_of(0.1, 0.4, 0.19, 0.31)
    assert kept(logits, min_p=0.5) == [False, True, False, True]
    assert kept(logits, min_p=0.0) == [True] * 4


def test_filters_work_row_by_row():
    both = torch.cat([logits_of(0.6, 0.3, 0.1), logits_of(0.1, 0.3, 0.6)])
    left = filtered(both, SampleSettings(top_p=0.5)).isfinite().tolist()
    assert left == [[True, False, False], [False, False, True]]


def test_penalty_makes_what_is_there_less_likely():
    logits = torch.tensor([[2.0, -2.0, 1.0, -1.0]])
    seen = torch.tensor([[0, 1, 0]])
    assert penalise(logits, seen, 2.0).tolist() == [[1.0, -4.0, 1.0, -1.0]]
    greedy = SampleSettings(temperature=0, repetition_penalty=4.0)
    assert sample(logits, seen, greedy, []).item() == 2


def test_temperature_zero_is_the_likeliest():
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    ids = sample(logits, NOTHING.expand(5, 0), SampleSettings(temperature=0), [])
    assert torch.equal(ids, logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_of_a_diverged_model_are_refused(temperature):
    settings, generator = SampleSettings(temperature=temperature), torch.Generator()
    with pytest.raises(YxanulError, match="not finite"):
        sample(torch.full((1, 4), torch.nan), NOTHING, settings, [generator])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_temperature(temperature):
    logits = logits_of(0.5, 0.3, 0.15, 0.05)
    generators = [torch.Generator().manual_seed(n) for n in range(4)]
    settings, rows = SampleSettings(temperature=temperature), logits.expand(4, -1)
    drawn = torch.cat(
        [sample(rows, NOTHING.expand(4, 0), settings, generators) for _ in range(2000)]
    )
    expected = (logits[0] / temperature).softmax(-1)
    torch.testing.assert_close(
        drawn.bincount(minlength=4) / len(drawn), expected, atol=0.02, rtol=0
    )


def test_a_row_draws_the_same_in_any_company():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))

    def draw(rows):
        generators = [torch.Generator().manual_seed(n) for n in rows]
        return sample(logits[rows], NOTHING.expand(len(rows), 0), SampleSettings(), generators)

    assert torch.equal(draw([0, 1, 2])[1:], draw([1, 2]))


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": -0.1},
        {"top_p": 1.1},
        {"top_k": 0},
        {"repetition_penalty": 0},
        {"max_tokens": 0},
        {"stop": [""]},
    ],
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        SampleSettings(**fields)


def test_a_temperature_below_all_numbers_takes_the_likeliest():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    generators = [torch.Generator().manual_seed(1)]
    for temperature in (1e-300, 1e-45):
        for filters in ({}, {"top_p": 0.9}, {"min_p": 0.1}):
            settings = SampleSettings(temperature=temperature, **filters)
            assert sample(logits, NOTHING, settings, generators).tolist() == [1]
