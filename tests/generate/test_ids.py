"""Decoding many prompts at once says what each says alone."""

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.generate.config import SampleSettings
from yxanul.generate.ids import next_tokens, read_prompts
from yxanul.generate.steps import eager_step
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

GREEDY = SampleSettings(max_tokens=12, temperature=0)
PROMPTS = [[5], [7, 8, 9, 10, 11, 12, 13, 14, 15], [1, 2, 3], [40, 41, 42, 43, 44]]
KINDS = {
    "global": {},
    "mixed": {"layer_pattern": "LG", "window": 4, "rope_theta_local": 100.0},
    "local": {"layer_pattern": "L", "window": 3},
    "learned": {"positions": "learned"},
}


@pytest.fixture(params=KINDS)
def model(request):
    model = LanguageModel(
        ModelSettings(
            width=32, depth=3, num_heads=4, num_kv_heads=2, vocab_size=50, max_seq_len=40,
            init_std=0.3, **KINDS[request.param],
        )
    )  # fmt: skip
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def greedy_without_a_cache(model, prompt, num_new):
    ids = list(prompt)
    for _ in range(num_new):
        with torch.no_grad():
            ids.append(int(model.logits(model.hidden(torch.tensor([ids]))[:, -1]).argmax()))
    return ids[len(prompt) :]


def continued(model, prompts, settings=GREEDY):
    return [list(row) for row in zip(*next_tokens(model, prompts, settings), strict=True)]


def test_prompts_of_different_lengths_are_continued_as_if_alone(model):
    together = continued(model, PROMPTS)
    for prompt, found in zip(PROMPTS, together, strict=True):
        assert found == greedy_without_a_cache(model, prompt, 12)


def test_equal_prompts_and_equal_lengths(model):
    pair = [PROMPTS[2], [9, 9, 9]]
    assert continued(model, pair) == [continued(model, [p])[0] for p in pair]
    twice = continued(model, [PROMPTS[1]] * 2)
    assert twice[0] == twice[1] == greedy_without_a_cache(model, PROMPTS[1], 12)


def test_a_rows_neighbours_do_not_change_what_is_drawn_or_penalised(model):
    settings = SampleSettings(max_tokens=8, temperature=1.0, repetition_penalty=3.0, seed=4)
    together = continued(model, [PROMPTS[0], PROMPTS[1]], settings)
    assert together[0] == continued(model, [PROMPTS[0]], settings)[0]


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[1:2], [PROMPTS[1]] * 2], ids=len)
def test_steps_of_one_shape_as_for_a_captured_graph(model, prompts):
    scores = []
    for static in (False, True):
        logits_BV, cache = read_prompts(model, prompts, 10)
        if static:
            cache.make_static()
        found = [logits_BV]
        for _ in range(10):
            found.append(eager_step(model, cache, found[-1].argmax(-1, keepdim=True)))
        scores.append(torch.stack(found))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-5)


def test_what_cannot_be_continued(model):
    with pytest.raises(YxanulError, match="no tokens"):
        continued(model, [[1], []])
    with pytest.raises(YxanulError, match="max_seq_len"):
        continued(model, [[1] * 41])
    assert continued(model, [[1] * 38, [2]])[0] == greedy_without_a_cache(model, [1] * 38, 2)
