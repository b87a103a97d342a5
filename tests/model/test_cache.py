import pytest
import torch

from yxanul.model.cache import KvCache
from yxanul.model.count import kv_bytes_per_token


def test_size_is_what_the_count_says(build):
    settings = build(num_kv_heads=2).settings
    cache = KvCache(settings, batch=3, length=10, dtype=torch.bfloat16)
    assert cache.num_bytes == 3 * 10 * kv_bytes_per_token(settings)


def test_a_full_cache_takes_no_more(build):
    model = build()
    cache = KvCache(model.settings, 1, 4)
    model.hidden(torch.zeros(1, 4, dtype=torch.int64), cache=cache)
    assert cache.num_seen == 4
    with pytest.raises(AssertionError, match="full"):
        model.hidden(torch.zeros(1, 1, dtype=torch.int64), cache=cache)


def test_repeated_rows_go_their_own_ways(build):
    model = build(init_std=0.2)
    prompt = torch.tensor([[1, 2, 3]])
    cache = KvCache(model.settings, 1, 8)
    model.hidden(prompt, cache=cache)
    both = model.hidden(torch.tensor([[4], [5]]), cache=cache.repeat(2))
    for row, last in enumerate((4, 5)):
        whole = model.hidden(torch.tensor([[1, 2, 3, last]]))
        torch.testing.assert_close(both[row, 0], whole[0, -1], rtol=1e-5, atol=1e-5)
    assert cache.num_seen == 3
