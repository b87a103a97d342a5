from typing import get_args

import pytest
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.model.blocks.ffn import FFNS
from yxanul.model.blocks.norm import NORMS
from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS

SHAPE = {"width": 512, "depth": 2, "num_heads": 8}


def test_a_preset_fills_in_and_any_field_overrides_it():
    settings = ModelSettings(preset="micro", depth=3, qk_norm=True)
    assert settings.width == PRESETS["micro"]["width"]
    assert settings.num_kv_heads == PRESETS["micro"]["num_kv_heads"]
    assert (settings.depth, settings.qk_norm) == (3, True)


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_says_survives_being_written_down(name):
    settings = ModelSettings(preset=name)
    assert ModelSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_shapes_that_follow_from_others():
    settings = ModelSettings(**SHAPE, num_kv_heads=None)
    assert (settings.num_kv_heads, settings.head_width, settings.ffn_width) == (8, 64, 1408)
    assert ModelSettings(**SHAPE, ffn="relu2").ffn_width == 2048


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_heads": 7}, "width 512 .* num_heads 7"),
        ({"preset": "micro", "width": 512, "num_heads": 7}, "num_heads 7"),
        ({"num_kv_heads": 3}, "num_kv_heads 3"),
        ({"head_width": 63}, "head_width 63 is odd"),
        ({"head": "folded"}, "needs embedding_rank"),
        ({"embedding_rank": 64}, "use 'folded'"),
        ({"embedding_rank": 512, "head": "folded"}, "less than width 512"),
        ({"preset": "mikro"}, "did you mean 'micro'"),
        ({"preset": "giant"}, "yxanul-177m"),
        ({"ffn": "swish"}, "swiglu"),
        ({"width": 0}, "greater than 0"),
        ({"dropout": 0.1}, "dropout"),
    ],
)
def test_impossible_combinations_are_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        ModelSettings(**{**SHAPE, **fields})


def test_a_head_width_that_is_given_may_differ_from_width_over_heads():
    assert ModelSettings(width=640, depth=1, num_heads=4, head_width=256).head_width == 256


def test_the_vocabulary_is_the_tokenizers():
    settings = ModelSettings(**SHAPE)
    with pytest.raises(YxanulError, match="not known yet"):
        _ = settings.known_vocab_size
    assert settings.resolved(5000).known_vocab_size == 5000
    assert settings.resolved(None).known_vocab_size == 4096
    with pytest.raises(YxanulError, match=r"got 50257; expected 5000"):
        ModelSettings(preset="yxanul-177m").resolved(5000)


@pytest.mark.parametrize(
    ("vocab_size", "stored"),
    [(256, 256), (257, 320), (4096, 4096), (50257, 50304), (200005, 200064), (48, 48)],
)
def test_storage_is_padded_unless_a_multiple_of_16(vocab_size, stored):
    assert ModelSettings(**SHAPE, vocab_size=vocab_size).padded_vocab_size == stored


def test_the_choices_are_those_of_the_tables():
    fields = ModelSettings.model_fields
    assert set(get_args(fields["ffn"].annotation)) == set(FFNS)
    assert set(get_args(fields["norm"].annotation)) == set(NORMS)
