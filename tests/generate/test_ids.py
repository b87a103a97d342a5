"""Decoding many prompts at once says what each says alone."""

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.generate.config import SampleSettings
from yxanul.generate.ids import generate_ids, read_prompts
from yxanul.generate.steps import EagerStep, make_static
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


def test_prompts_of_different_lengths_are_continued_as_if_alone(model):
    together = generate_ids(model, PROMPTS, GREEDY)
    for prompt, found in zip(PROMPTS, together, strict=True):
        assert found == greedy_without_a_cache(model, prompt, 12)


def test_equal_prompts_and_equal_lengths(model):
    pair = [PROMPTS[2], [9, 9, 9]]
    assert generate_ids(model, pair, GREEDY) == [generate_ids(model, [p], GREEDY)[0] for p in pair]
    twice = generate_ids(model, [PROMPTS[1]] * 2, GREEDY)
    assert twice[0] == twice[1] == greedy_without_a_cache(model, PROMPTS[1], 12)


def test_a_rows_neighbours_do_not_change_what_is_drawn_or_penalised(model):
    settings = SampleSettings(max_tokens=8, temperature=1.0, repetition_penalty=3.0, seed=4)
    together = generate_ids(model, [PROMPTS[0], PROMPTS[1]], settings)
    assert together[0] == generate_ids(model, [PROMPTS[0]], settings)[0]


def test_the_end_ends_a_row_and_is_left_out(model):
    free = generate_ids(model, PROMPTS, GREEDY)
    end = free[1][5]
    ended = generate_ids(model, PROMPTS, GREEDY, end=end)
    for whole, short in zip(free, ended, strict=True):
        assert short == (whole[: whole.index(end)] if end in whole else whole)


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[1:2], [PROMPTS[1]] * 2], ids=len)
def test_steps_of_one_shape_as_for_a_captured_graph(model, prompts):
    steps, scores = [], []
    for static in (False, True):
        logits_BV, cache = read_prompts(model, prompts, 10)
        if static:
            make_static(cache, torch.device("cpu"))
        step, found = EagerStep(model, cache), [logits_BV]
        for _ in range(10):
            found.append(step(found[-1].argmax(-1, keepdim=True)))
        steps.append(step)
        scores.append(torch.stack(found))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-5)


def test_what_cannot_be_continued(model):
    with pytest.raises(YxanulError, match="no tokens"):
        generate_ids(model, [[1], []], GREEDY)
    with pytest.raises(YxanulError, match="max_seq_len"):
        generate_ids(model, [[1] * 41], GREEDY)
    assert generate_ids(model, [[1] * 38, [2]], GREEDY)[0] == greedy_without_a_cache(
        model, [1] * 38, 2
    )
