"""Ours and the `transformers` implementation of the same architecture say and learn the same."""

import pytest
import torch

from pairs import FAMILIES, build_ours, build_theirs, draw_ids, random_settings, settings_of
from yxanul.model.cache import KvCache
from yxanul.model.convert.names import to_ours

pytest.importorskip("transformers", reason="needs the extra 'hf'")

LENGTH = 23
NEAR = {"rtol": 1e-4, "atol": 1e-4}
LOCAL = {"layer_pattern": "LLG", "window": 4}
CASES = [
    ("Llama", {}),
    ("Llama", {"head": "untied", "ffn": "geglu", "vocab_size": 101}),
    ("Qwen3", {"head": "untied", "head_width": 16}),
    ("Qwen3", {**LOCAL, "vocab_size": 101}),
    ("Gemma3", {**LOCAL, "rope_theta": 1e6, "rope_theta_local": 1e4}),
    ("Gemma3", {**LOCAL, "head": "untied", "logit_soft_cap": 5.0, "query_scale": 24**-0.5}),
    ("Gemma3", {}),
]
RANDOM = [(family, seed) for family in FAMILIES for seed in range(10)]


def assert_equal_passes(settings):
    """Compare the scores of a full pass, the loss, and every gradient."""
    ours = build_ours(settings)
    theirs, names = build_theirs(ours)
    ids = draw_ids(settings, LENGTH + 1)
    expected = theirs(ids[:, :-1]).logits
    torch.testing.assert_close(ours.logits(ours.hidden(ids[:, :-1])), expected, **NEAR)
    loss = ours.loss(ids[:, :-1], ids[:, 1:])
    (loss.total / loss.count).backward()
    their_loss = theirs(ids, labels=ids).loss
    torch.testing.assert_close(loss.total / loss.count, their_loss, rtol=1e-5, atol=1e-5)
    their_loss.backward()
    their_gradients = {name: p.grad for name, p in theirs.named_parameters()}
    gradients = to_ours(names, their_gradients.__getitem__, settings)
    mine = {name: parameter.grad for name, parameter in ours.named_parameters()}
    assert set(mine) == set(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(mine[name], gradient, **NEAR, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(("family", "fields"), CASES)
def test_scores_loss_and_gradients(family, fields):
    assert_equal_passes(settings_of(family, **fields))


@pytest.mark.parametrize(("family", "seed"), RANDOM)
def test_any_shape(family, seed):
    assert_equal_passes(random_settings(family, seed))


@torch.no_grad()
@pytest.mark.parametrize(("family", "fields"), CASES)
def test_token_by_token(family, fields):
    """Ours with a cache says what theirs says in one pass, and what theirs says with a cache."""
    settings = settings_of(family, **fields)
    ours = build_ours(settings)
    theirs, _ = build_theirs(ours)
    ids = draw_ids(settings, LENGTH)
    whole = theirs(ids).logits
    cache, theirs_so_far = KvCache(settings, 2, LENGTH), None
    for start, end in [(0, 3), *((n, n + 1) for n in range(3, LENGTH))]:
        new = ids[:, start:end]
        mine = ours.logits(ours.hidden(new, cache=cache))
        torch.testing.assert_close(mine, whole[:, start:end], **NEAR)
        answer = theirs(new, past_key_values=theirs_so_far, use_cache=True)
        theirs_so_far = answer.past_key_values
        torch.testing.assert_close(mine, answer.logits, **NEAR)
