"""The loss before training is ln V + s^2 / 2, with s the standard deviation of the scores."""

import math

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

BATCHES = 8
KNOWN = {
    "177m": ({"preset": "yxanul-177m"}, 10.833),
    "197m": ({"preset": "yxanul-197m"}, 12.214),
    "270m": ({"preset": "yxanul-270m"}, 12.373),
    "gemma3 stories": ({"preset": "gemma3-tinystories"}, 10.992),
    "497m": ({"preset": "yxanul-497m"}, 10.979),
    "317m tied": ({"preset": "yxanul-317m", "head": "tied"}, 10.979),
}


def first_losses(fields, seq_len):
    settings = ModelSettings(**fields)
    model = LanguageModel(settings)
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    for _ in range(BATCHES):
        tokens = torch.randint(0, settings.known_vocab_size, (2, 1, seq_len), generator=generator)
        yield model.token_scores(*tokens)[0].mean().item()


FEW = ("177m", "497m")
"""A folded and a tied head, each with its own spread; a separate one is among the slow tests."""


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in KNOWN]
)
def test_of_two_layers(name):
    """As deep as it may be: the last norm hides the depth."""
    fields, expected = KNOWN[name]
    losses = list(first_losses({**fields, "depth": 2}, seq_len=64))
    assert sum(losses) / BATCHES == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_of_the_presets(name):
    fields, expected = KNOWN[name]
    losses = list(first_losses(fields, seq_len=256))
    assert sum(losses) / BATCHES == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("name", "variance"), [("177m", 0.0157), ("270m", 1 / 3), ("497m", 0.307)])
def test_the_figures_are_those_of_the_formula(name, variance):
    """Variance: 768 x 0.02^2 x 128 x 0.02^2, then 640 / (3 x 640), then 768 x 0.02^2."""
    fields, expected = KNOWN[name]
    vocab_size = ModelSettings(**fields).known_vocab_size
    assert math.log(vocab_size) + variance / 2 == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("preset", ["yxanul-270m", "gemma3-tinystories"])
def test_a_head_of_its_own_starts_as_pytorch_would_start_it(preset):
    """Uniform in +-1 / sqrt(width): too near to 0.02 for the loss to tell."""
    settings = ModelSettings(preset=preset, depth=1, vocab_size=500)
    model = LanguageModel(settings)
    model.init_weights(torch.Generator().manual_seed(0))
    expected = (3 * settings.width) ** -0.5
    assert model.head is not None
    assert model.head[:500].std().item() == pytest.approx(expected, rel=0.01)
    assert model.embedding.tokens[:500].std().item() == pytest.approx(0.02, rel=0.02)
