"""Decoding: the step that is captured as a CUDA graph, or compiled by hand on a CPU."""

from functools import partial

import pytest
import torch

from yxanul.generate.steps import eager_step, make_step
from yxanul.model.cache import KvCache

KINDS = {"llama": {}, "window": {"layer_pattern": "LG", "window": 8}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_steps_equal_the_forward_pass(build, ids, device, kind, dtype):
    model = build(**KINDS[kind]).to(dtype)
    caches = [KvCache(model.settings, 4, 64, dtype, device) for _ in range(2)]
    for cache in caches:
        model.hidden(ids[:, :20], cache=cache)
    fast, eager = make_step(model, caches[0]), partial(eager_step, model, caches[1])
    tolerance = 1e-4 if dtype is torch.float32 else 3e-2
    for position in range(20, 40):
        newest = ids[:, position : position + 1]
        found = fast(newest).clone()
        torch.testing.assert_close(found, eager(newest), rtol=tolerance, atol=tolerance)
        whole = model.logits(model.hidden(ids[:, : position + 1])[:, -1])
        torch.testing.assert_close(found, whole, rtol=2 * tolerance, atol=2 * tolerance)
