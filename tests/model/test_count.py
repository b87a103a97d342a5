import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from yxanul.model.config import ModelSettings
from yxanul.model.count import (
    count_parameters,
    flops_per_token,
    kv_bytes_per_token,
    layer_parameters,
    parameter_table,
    weight_bytes,
)
from yxanul.model.language_model import LanguageModel
from yxanul.model.zoo import PRESETS

YXANUL_177M = ModelSettings(preset="yxanul-177m")
FULL = {"preset": "yxanul-177m", "embedding_rank": None}
KNOWN = {
    "177m": (YXANUL_177M, 177_230_720),
    "317m": (
        ModelSettings(**FULL, ffn_width=3072, head="untied", positions="rope+learned"),
        317_100_288,
    ),
    "317m tied": (
        ModelSettings(**FULL, ffn_width=3072, head="tied", positions="rope+learned"),
        278_502_912,
    ),
    "197m": (ModelSettings(preset="yxanul-177m", vocab_size=200_005), 196_398_464),
    "497m": (
        ModelSettings(**FULL, num_kv_heads=12, ffn="geglu", ffn_width=3072, head="tied"),
        302_882_304,
    ),
}


def built_on_meta(settings: ModelSettings) -> LanguageModel:
    with torch.device("meta"):
        return LanguageModel(settings)


@pytest.mark.parametrize("name", KNOWN)
def test_exact_counts_by_arithmetic_and_by_building(name):
    settings, expected = KNOWN[name]
    assert count_parameters(settings) == expected
    model = built_on_meta(settings)
    padding = settings.num_stored_tokens - settings.num_tokens
    padded = sum(
        padding * table.shape[1]
        for table in (model.embedding.tokens, model.head)
        if table is not None
    )
    assert sum(p.numel() for p in model.parameters()) - padded == expected


def test_parts_of_177m():
    assert layer_parameters(YXANUL_177M) == 6_096_384
    assert parameter_table(YXANUL_177M) == {
        "embedding": 6_531_200,
        "attention x 28": 28 * (589_824 + 196_608 + 589_824),
        "feed-forward x 28": 28 * 4_718_592,
        "norms": 28 * 1_536 + 768,
    }
    assert kv_bytes_per_token(YXANUL_177M) == 14_336
    assert weight_bytes(YXANUL_177M) == {"fp32": 4 * 177_230_720, "bf16": 2 * 177_230_720}


@pytest.mark.parametrize(
    ("name", "vocab_size", "least", "most"),
    [("nano", 4096, 0.8e6, 1.3e6), ("micro", 4096, 5e6, 7e6), ("mini", 8192, 25e6, 35e6)],
)
def test_the_small_presets_are_the_size_they_say(name, vocab_size, least, most):
    assert least <= count_parameters(ModelSettings(preset=name).resolved(vocab_size)) <= most


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "fields", [{}, {"embedding_rank": None, "head": "untied"}, {"ffn": "relu2", "qk_norm": True}]
)
def test_flops_are_those_that_a_forward_pass_does(name, fields):
    settings = ModelSettings(preset=name, **fields).resolved(None)
    seq_len = 64
    model = built_on_meta(settings)
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        ids = torch.zeros(1, seq_len, dtype=torch.int64)
        hidden, weight = model._head(model.hidden(ids))
        _ = hidden @ weight[: settings.num_tokens].T
    flops = flops_per_token(settings, seq_len)
    assert 3 * counter.get_total_flops() == flops.total * seq_len
    assert flops.total - flops.total_causal == flops.attention_full // 2
    assert flops.to_dict()["total"] == flops.total
