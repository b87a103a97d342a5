"""Decoding with a cache equals the full pass: rings, chunks of any size, rows of any length."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yxanul.model.cache import KvCache
from yxanul.model.config import ModelSettings
from yxanul.model.count import kv_bytes_per_token, kv_cache_bytes
from yxanul.model.cpu_decode import CpuDecoder
from yxanul.model.language_model import LanguageModel

LENGTH, VOCAB = 14, 50
PATTERNS = {
    "global": {},
    "learned": {"positions": "learned"},
    "local 1": {"layer_pattern": "L", "window": 1},
    "local 3": {"layer_pattern": "L", "window": 3},
    "local, wider than the text": {"layer_pattern": "L", "window": 40},
    "local, as wide as the text": {"layer_pattern": "L", "window": LENGTH},
    "mixed 1": {"layer_pattern": "LG", "window": 1, "positions": "rope+learned"},
    "mixed 3": {"layer_pattern": "LLG", "window": 3, "rope_theta_local": 100.0, "qk_norm": True},
    "mixed 6": {"layer_pattern": "GL", "window": 6, "num_kv_heads": 4},
    "Gemma 3": {
        "layer_pattern": "LLG", "window": 4, "num_kv_heads": 1, "head_width": 12, "ffn": "geglu",
        "norm": "zero_centered_rmsnorm", "post_norm": True, "qk_norm": True, "query_scale": 0.2,
        "embedding_scale": True, "rope_theta": 1e6, "rope_theta_local": 100.0,
    },
    "Gemma 2": {
        "layer_pattern": "LG", "window": 4, "norm": "zero_centered_rmsnorm", "post_norm": True,
        "logit_soft_cap": 2.0, "head": "folded", "embedding_rank": 8, "ffn": "relu2",
    },
    "layer norms": {"norm": "layernorm", "ffn": "gelu", "post_norm": True, "qk_norm": True},
    "mixed, wider than the text": {"layer_pattern": "LG", "window": 40, "num_kv_heads": 1},
}  # fmt: skip


def near(dtype):
    return 1e-5 if dtype == torch.float32 else 0.15


@pytest.fixture(params=PATTERNS)
def model(request, build):
    return build(**{"num_kv_heads": 2, "depth": 3, "init_std": 0.2, **PATTERNS[request.param]})


@pytest.fixture
def ids_BT(generator):
    return torch.randint(0, VOCAB, (2, LENGTH), generator=generator)


@torch.no_grad()
def full_pass(model, ids_BT):
    return model.logits(model.hidden(ids_BT))


@torch.no_grad()
def in_parts(model, cache, parts):
    return torch.cat([model.logits(model.hidden(part, cache=cache)) for part in parts], 1)


def empty_cache(model, batch, length=LENGTH, is_static=False):
    dtype = model.embedding.tokens.dtype
    cache = KvCache(model.settings, batch, length, dtype)
    cache.is_static = is_static
    return cache


@pytest.mark.parametrize(("prompt", "dtype"), [(1, torch.float32), (7, torch.bfloat16)])
def test_step_by_step_equals_the_full_pass(model, ids_BT, prompt, dtype):
    model = model.to(dtype)
    parts = ids_BT.split([prompt] + [1] * (LENGTH - prompt), 1)
    got = in_parts(model, empty_cache(model, 2), parts)
    torch.testing.assert_close(got, full_pass(model, ids_BT), rtol=near(dtype), atol=near(dtype))


def test_with_gradients_it_is_the_same(model, ids_BT):
    """Without gradients the kernels are others."""
    cache, whole = empty_cache(model, 2), model.hidden(ids_BT)
    parts = [model.hidden(part, cache=cache) for part in ids_BT.split([5, 1, 4, 1, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.hidden(ids_BT), whole, rtol=1e-5, atol=1e-5)


def test_more_room_than_tokens_changes_nothing(model, ids_BT):
    got = in_parts(model, empty_cache(model, 2, length=3 * LENGTH), ids_BT.split(1, 1))
    torch.testing.assert_close(got, full_pass(model, ids_BT), rtol=1e-5, atol=1e-5)


def made(name):
    fields = {"width": 32, "depth": 3, "num_heads": 4, "num_kv_heads": 2, "max_seq_len": 32}
    shape = ModelSettings(**{**fields, "vocab_size": VOCAB, "init_std": 0.2, **PATTERNS[name]})
    model = LanguageModel(shape)
    model.init_weights(torch.Generator().manual_seed(1))
    return model


MODELS = {name: made(name) for name in PATTERNS}


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    name=st.sampled_from(sorted(PATTERNS)),
    cuts=st.sets(st.integers(1, LENGTH - 1)),
    seed=st.integers(0, 1000),
    room=st.integers(0, 3),
)
def test_chunks_of_any_size_equal_the_full_pass(name, cuts, seed, room):
    ids = torch.randint(0, VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
    parts = ids.tensor_split(sorted(cuts), 1)
    got = in_parts(MODELS[name], empty_cache(MODELS[name], 2, LENGTH + room), parts)
    torch.testing.assert_close(got, full_pass(MODELS[name], ids), rtol=1e-5, atol=1e-5)


def ragged(model, ids_BT, lengths, num_padding=0, is_static=False):
    """Return each row's logits from prompts of these lengths, padded, then one token a pass."""
    lengths_B = torch.tensor(lengths)
    longest = max(lengths) + num_padding
    prompts = torch.where(torch.arange(longest) < lengths_B.unsqueeze(1), ids_BT[:, :longest], 7)
    num_more = LENGTH - max(lengths)
    cache = empty_cache(model, len(lengths), longest + num_more, is_static)
    cache.lengths_B = lengths_B.clone()
    first = in_parts(model, cache, [prompts])
    steps = [ids_BT.gather(1, (lengths_B + step).unsqueeze(1)) for step in range(num_more)]
    later = in_parts(model, cache, steps)
    assert cache.lengths_B.tolist() == [length + num_more for length in lengths]
    return [torch.cat([first[row, :length], later[row]]) for row, length in enumerate(lengths)]


LENGTHS = [((2, 3), True), ((9, 1), False), ((5, 12), True), ((6, 6), False)]
"""With windows of 3 and 6: both rows shorter, one, none; just as long."""


@pytest.mark.parametrize(("lengths", "is_static"), LENGTHS, ids=str)
def test_rows_of_different_lengths_equal_each_row_alone(model, ids_BT, lengths, is_static):
    for row, got in enumerate(ragged(model, ids_BT, lengths, is_static=is_static)):
        alone = full_pass(model, ids_BT[row : row + 1])[0, : len(got)]
        torch.testing.assert_close(got, alone, rtol=1e-5, atol=1e-5)


def test_prompts_may_be_padded_further_than_the_longest(model, ids_BT):
    for row, got in enumerate(ragged(model, ids_BT, (2, 8), num_padding=4)):
        alone = full_pass(model, ids_BT[row : row + 1])[0, : len(got)]
        torch.testing.assert_close(got, alone, rtol=1e-5, atol=1e-5)


def test_rows_of_different_lengths_in_bf16(model, ids_BT):
    model = model.to(torch.bfloat16)
    for row, got in enumerate(ragged(model, ids_BT, (4, 9))):
        alone = full_pass(model, ids_BT[row : row + 1])[0, : len(got)]
        torch.testing.assert_close(got, alone, rtol=0.15, atol=0.15)


def test_equal_lengths_said_or_not_are_the_same(model, ids_BT):
    said = ragged(model, ids_BT, (6, 6))
    parts = ids_BT.split([6] + [1] * (LENGTH - 6), 1)
    unsaid = in_parts(model, empty_cache(model, 2), parts)
    torch.testing.assert_close(torch.stack(said), unsaid, rtol=1e-5, atol=1e-5)


SHORT_WAYS = [
    (torch.float32, (6, 6), False),
    (torch.float32, (9, 2, 5), True),
    (torch.float32, (5,), True),
    (torch.bfloat16, (5,), False),
    (torch.bfloat16, (2, 9), True),
]


@pytest.mark.parametrize(("dtype", "lengths", "is_ragged"), SHORT_WAYS, ids=str)
def test_the_short_way_of_a_token_equals_the_modules(model, generator, dtype, lengths, is_ragged):
    model, num_steps = model.to(dtype), LENGTH - max(lengths)
    with torch.no_grad():
        for name, gain in model.named_parameters():
            if name.endswith("gain"):
                gain.add_(torch.randn(gain.shape, generator=generator), alpha=0.3)
    prompts = torch.randint(0, VOCAB, (len(lengths), max(lengths)), generator=generator)
    steps = torch.randint(0, VOCAB, (num_steps, len(lengths), 1), generator=generator)
    caches = [empty_cache(model, len(lengths)) for _ in range(2)]
    for cache in caches:
        if is_ragged or len(set(lengths)) > 1:
            cache.lengths_B = torch.tensor(lengths)
        in_parts(model, cache, [prompts])
    step = CpuDecoder(model, caches[1])
    for ids_B1 in steps:
        by_modules = in_parts(model, caches[0], [ids_B1])[:, 0]
        torch.testing.assert_close(step(ids_B1), by_modules, rtol=near(dtype), atol=near(dtype))
    assert caches[0].num_seen == caches[1].num_seen == LENGTH


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(
    name=st.sampled_from(sorted(PATTERNS)),
    lengths=st.lists(st.integers(1, LENGTH - 1), min_size=1, max_size=4),
    is_static=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_rows_of_any_lengths(name, lengths, is_static, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (len(lengths), LENGTH), generator=generator)
    for row, got in enumerate(ragged(MODELS[name], ids, lengths, is_static=is_static)):
        alone = full_pass(MODELS[name], ids[row : row + 1])[0, : len(got)]
        torch.testing.assert_close(got, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_ragged", [False, True])
def test_repeated_rows_go_their_own_ways(model, ids_BT, is_ragged):
    prompt, rest = ids_BT[:1, :5], ids_BT[:, 5:]
    cache = empty_cache(model, 1)
    if is_ragged:
        cache.lengths_B = torch.tensor([5])
    in_parts(model, cache, [prompt])
    copy = cache.repeat(2)
    got = in_parts(model, copy, rest.split(1, 1))
    whole = full_pass(model, torch.cat([prompt.expand(2, -1), rest], 1))[:, 5:]
    torch.testing.assert_close(got, whole, rtol=1e-5, atol=1e-5)
    assert (cache.num_seen, copy.num_seen, copy.batch) == (5, LENGTH, 2)
    again = in_parts(model, cache, rest[1:].split(1, 1))
    torch.testing.assert_close(again, whole[1:], rtol=1e-5, atol=1e-5)


def num_bytes(cache):
    return sum(cache.layer_buffer(layer).nbytes for layer in range(len(cache.kinds)))


def test_size_is_what_the_count_says(model):
    for dtype, length in product((torch.float32, torch.bfloat16), (1, 3, 5, LENGTH, 50)):
        cache = KvCache(model.settings, batch=3, length=length, dtype=dtype)
        assert num_bytes(cache) == 3 * kv_cache_bytes(model.settings, length, dtype.itemsize)
        if "L" not in model.settings.layer_kinds:
            whole = length * kv_bytes_per_token(model.settings, dtype.itemsize)
            assert num_bytes(cache) == 3 * whole


def test_size_for_gemma3():
    settings = ModelSettings(preset="gemma3-270m")
    cache = KvCache(settings, 1, 1024, torch.bfloat16, device="meta")
    assert num_bytes(cache) == 11_010_048


def test_a_full_cache_takes_no_more(model):
    cache = empty_cache(model, 1, length=4)
    in_parts(model, cache, [torch.zeros(1, 4, dtype=torch.int64)])
    assert cache.num_seen == 4
    with pytest.raises(AssertionError, match="full"):
        in_parts(model, cache, [torch.zeros(1, 1, dtype=torch.int64)])


def test_a_prompt_that_does_not_fit_is_refused(model):
    with pytest.raises(AssertionError, match="full"):
        in_parts(model, empty_cache(model, 1, length=4), [torch.zeros(1, 5, dtype=torch.int64)])
