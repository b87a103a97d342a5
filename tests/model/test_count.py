import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from yxanul.model.config import ModelSettings
from yxanul.model.count import (
    block_parameters,
    count_parameters,
    flops_per_token,
    kv_bytes_per_token,
    kv_cache_bytes,
    parameter_table,
    weight_bytes,
)
from yxanul.model.language_model import LanguageModel
from yxanul.model.zoo import PRESETS

YXANUL_177M = ModelSettings(preset="yxanul-177m")
WITHOUT_RANK = {"preset": "yxanul-177m", "embedding_rank": None}
KNOWN = {
    "497m": ({"preset": "yxanul-497m"}, 302_882_304),
    "497m from 177m": (
        {**WITHOUT_RANK, "num_kv_heads": 12, "ffn": "geglu", "ffn_width": 3072, "head": "tied"},
        302_882_304,
    ),
    "497m untied": ({"preset": "yxanul-497m", "head": "untied"}, 341_479_680),
    "497m untied, learned": (
        {"preset": "yxanul-497m", "head": "untied", "positions": "rope+learned"},
        344_625_408,
    ),
    "317m": ({"preset": "yxanul-317m"}, 317_100_288),
    "317m from 177m": (
        {**WITHOUT_RANK, "ffn_width": 3072, "head": "untied", "positions": "rope+learned"},
        317_100_288,
    ),
    "317m tied": ({"preset": "yxanul-317m", "head": "tied"}, 278_502_912),
    "317m tied, not learned": (
        {"preset": "yxanul-317m", "head": "tied", "positions": "rope"},
        275_357_184,
    ),
    "177m": ({"preset": "yxanul-177m"}, 177_230_720),
    "197m": ({"preset": "yxanul-197m"}, 196_398_464),
    "197m from 177m": ({"preset": "yxanul-177m", "vocab_size": 200_005}, 196_398_464),
    "197m untied": ({"preset": "yxanul-197m", "head": "untied"}, 350_002_304),
    "270m": ({"preset": "yxanul-270m"}, 273_284_480),
    "270m folded": ({"preset": "yxanul-270m", "head": "folded"}, 145_281_280),
    "270m tied": (
        {"preset": "yxanul-270m", "head": "tied", "embedding_rank": None},
        247_601_920,
    ),
    "gemma3": ({"preset": "gemma3-270m"}, 268_098_176),
    "gemma3 stories": ({"preset": "gemma3-tinystories"}, 164_654_976),
    "gemma3 stories from 270m": (
        {"preset": "gemma3-270m", "vocab_size": 50257, "head": "untied"},
        164_654_976,
    ),
    "gemma3 stories tied": ({"preset": "gemma3-tinystories", "head": "tied"}, 132_490_496),
}
SMALL = {"nano", "5x192", "micro", "8x384", "mini", "20x640", "28x768"}


def built_on_meta(settings: ModelSettings) -> LanguageModel:
    with torch.device("meta"):
        return LanguageModel(settings)


def test_every_preset_is_known():
    assert {fields["preset"] for fields, _ in KNOWN.values()} | SMALL == set(PRESETS)


@pytest.mark.parametrize("name", KNOWN)
def test_exact_counts_by_arithmetic_and_by_building(name):
    fields, expected = KNOWN[name]
    settings = ModelSettings(**fields)
    assert count_parameters(settings) == expected
    model = built_on_meta(settings)
    padding = settings.padded_vocab_size - settings.known_vocab_size
    padded = sum(
        padding * table.shape[1]
        for table in (model.embedding.tokens, model.head)
        if table is not None
    )
    assert sum(p.numel() for p in model.parameters()) - padded == expected


def test_parts_of_177m():
    assert block_parameters(YXANUL_177M) == 28 * 6_096_384
    assert parameter_table(YXANUL_177M) == {
        "embedding": 6_531_200,
        "attention x 28": 28 * (589_824 + 196_608 + 589_824),
        "feed-forward x 28": 28 * 4_718_592,
        "norms": 28 * 1_536 + 768,
    }
    assert weight_bytes(YXANUL_177M) == {"fp32": 4 * 177_230_720, "bf16": 2 * 177_230_720}


@pytest.mark.parametrize(
    ("name", "vocab_size", "least", "most"),
    [("nano", 4096, 0.8e6, 1.3e6), ("micro", 4096, 5e6, 7e6), ("mini", 8192, 25e6, 35e6)],
)
def test_the_small_presets_are_the_size_they_say(name, vocab_size, least, most):
    assert least <= count_parameters(ModelSettings(preset=name).resolved(vocab_size)) <= most


def test_parts_of_gemma3():
    settings = ModelSettings(preset="gemma3-270m")
    parts = parameter_table(settings)
    assert parts["embedding"] == 262_144 * 640 and "head" not in parts
    assert sum(parts.values()) - parts["embedding"] == 100_326_016
    # Queries and output 640 x 1024 each, keys and values 640 x 256 each, norms of q and k.
    assert parts["attention x 18"] == 18 * (2 * 640 * 1024 + 2 * 640 * 256 + 2 * 256)
    assert parts["feed-forward x 18"] == 18 * 3 * 640 * 2048
    assert parts["norms"] == 18 * 4 * 640 + 640
    assert block_parameters(settings) + 640 == 100_326_016


@pytest.mark.parametrize("name", KNOWN)
def test_layers_are_what_was_built(name):
    settings = ModelSettings(**KNOWN[name][0])
    built = sum(p.numel() for p in built_on_meta(settings).blocks.parameters())
    assert built == block_parameters(settings)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("yxanul-177m", 14_336),
        ("yxanul-197m", 14_336),
        ("yxanul-270m", 14_336),
        ("yxanul-317m", 14_336),
        ("yxanul-497m", 86_016),
        ("gemma3-270m", 18_432),
    ],
)
def test_bytes_of_a_token_in_the_cache(preset, expected):
    settings = ModelSettings(preset=preset)
    assert kv_bytes_per_token(settings) == expected
    assert kv_bytes_per_token(settings, bytes_per_value=4) == 2 * expected


def test_cache_of_gemma3_keeps_windows_only():
    settings = ModelSettings(preset="gemma3-270m")
    assert 1024 * kv_bytes_per_token(settings) == 18_874_368
    assert kv_cache_bytes(settings, 1024) == 11_010_048
    for length in (1, 511, 512):
        assert kv_cache_bytes(settings, length) == length * kv_bytes_per_token(settings)
    assert kv_cache_bytes(settings, 513) == 512 * 18_432 + 3 * 2 * 256 * 2
    everything = ModelSettings(preset="yxanul-177m")
    assert kv_cache_bytes(everything, 1024) == 1024 * 14_336


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"embedding_rank": None, "head": "untied"},
        {"ffn": "relu2", "qk_norm": True},
        {"layer_pattern": "LLG", "window": 16},
    ],
)
def test_flops_are_those_that_a_forward_pass_does(name, fields):
    settings = ModelSettings(preset=name, depth=3, **fields).resolved(None)
    seq_len = 64
    model = built_on_meta(settings)
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        ids = torch.zeros(1, seq_len, dtype=torch.int64)
        hidden, weight = model._head(model.hidden(ids))
        _ = hidden @ weight[: settings.known_vocab_size].T
    flops = flops_per_token(settings, seq_len)
    assert 3 * counter.get_total_flops() == flops.total * seq_len
    assert flops.total - flops.total_causal == flops.attention_full - flops.attention_causal
    wide = settings.num_heads * settings.head_width
    assert flops.attention_full == 12 * settings.depth * wide * seq_len
    assert flops.to_dict()["total"] == flops.total


@pytest.mark.parametrize("name", PRESETS)
def test_half_of_the_square_is_causal_unless_there_are_windows(name):
    settings = ModelSettings(preset=name).resolved(None)
    for seq_len in (64, 512):
        flops = flops_per_token(settings, seq_len)
        assert 2 * flops.attention_causal == flops.attention_full
    flops = flops_per_token(settings, 1024)
    assert (2 * flops.attention_causal < flops.attention_full) == ("L" in settings.layer_kinds)


@pytest.mark.parametrize("pattern", ["L", "LLG", "LLLLLG"])
@pytest.mark.parametrize("window", [1, 5, 48, 64, 100])
def test_causal_flops_count_the_pairs_that_are_visible(pattern, window):
    """A pair costs 12 K H; the rule rounds a row's sum of w - 1/2 up by half a window of pairs."""
    fields = {"preset": "nano", "depth": 7, "layer_pattern": pattern, "window": window}
    settings, seq_len = ModelSettings(**fields), 64
    pairs = rounding = 0
    for kind in settings.layer_kinds:
        reach = window if kind == "L" else seq_len
        pairs += sum(i - j < reach for i in range(seq_len) for j in range(i + 1))
        rounding += min(reach, seq_len) / 2
    wide = settings.num_heads * settings.head_width
    flops = flops_per_token(settings.resolved(None), seq_len).attention_causal
    assert abs(flops * seq_len - 12 * wide * (pairs - rounding)) <= seq_len
