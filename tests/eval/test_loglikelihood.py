"""Continuations scored together are those scored one at a time."""

import random

import pytest
import torch

from pairs import FAMILIES, build_ours, settings_of, superword_tokenizer, train_tokenizer
from yxanul.base.ui import SilentUi
from yxanul.eval.loglikelihood import crop, log_likelihoods
from yxanul.eval.requests import Request, encode_choices
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings
from yxanul.tokenizer.tokenizer import Tokenizer

SEQ_LEN = 40
SHAPES = {
    "Llama": {},
    "Qwen3": {},
    "Gemma3": {"layer_pattern": "LLG", "window": 7, "logit_soft_cap": 5.0},
}


def model_of(family):
    """A model whose table has rows for padding, which must never win."""
    model = build_ours(settings_of(family, vocab_size=50, **SHAPES[family])).eval()
    with torch.no_grad():
        model.embedding.tokens[model.settings.known_vocab_size :] = 100.0
    assert len(model.embedding.tokens) > model.settings.known_vocab_size
    return model


@torch.no_grad()
def one_at_a_time(model, request, seq_len=SEQ_LEN):
    """Score a request whose continuation fits, from whole logits of its row alone."""
    ids = torch.tensor([[*request.context, *request.continuation]])[:, -(seq_len + 1) :]
    rows = model.logits(model.hidden(ids[:, :-1]))[0].log_softmax(-1)
    rows, target = rows[-len(request.continuation) :], torch.tensor(request.continuation)
    return float(rows.gather(1, target[:, None]).sum()), bool((rows.argmax(1) == target).all())


def greedy_continuation(model, context, length):
    ids = list(context)
    for _ in range(length):
        with torch.no_grad():
            ids.append(int(model.logits(model.hidden(torch.tensor([ids])))[0, -1].argmax()))
    return ids[len(context) :]


def draw_requests(model, seed):
    """Contexts shared by several continuations of 1 to 9 tokens, some longer than the model."""
    draw = random.Random(seed)

    def ids(low, high):
        return [draw.randrange(50) for _ in range(draw.randint(low, high))]

    requests = []
    for length in (1, 2, 5, 17, 30, 38, 55):
        context = ids(length, length)
        requests += [Request(context, ids(1, 9)) for _ in range(draw.randint(1, 5))]
        requests += [Request(context, ids(1, 1)) for _ in range(2)]
        if length < 30:
            requests.append(Request(context, greedy_continuation(model, context, 4)))
            requests += [requests[-1]] * 2
    draw.shuffle(requests)
    return requests


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_together_is_one_at_a_time(family, batch_tokens):
    model = model_of(family)
    requests = draw_requests(model, family)
    scores = {}
    for batch in log_likelihoods(model, requests, SEQ_LEN, batch_tokens):
        assert not scores.keys() & batch.keys()
        scores |= batch
    assert scores.keys() == set(range(len(requests)))
    for number, request in enumerate(requests):
        nats, is_greedy = one_at_a_time(model, request)
        assert scores[number].nats == pytest.approx(nats, abs=1e-4)
        assert scores[number].is_greedy == is_greedy
    assert {score.is_greedy for score in scores.values()} == {True, False}


@pytest.fixture
def seen(monkeypatch):
    """A model, and the shapes of what it reads."""
    model = model_of("Llama")
    shapes, hidden = [], model.hidden

    def counted(ids_BT, **options):
        shapes.append(tuple(ids_BT.shape))
        return hidden(ids_BT, **options)

    monkeypatch.setattr(model, "hidden", counted)
    return model, shapes


def test_a_context_is_computed_once(seen):
    model, shapes = seen
    requests = [Request([1, 2, 3, 4], [number]) for number in range(5)]
    requests += [Request([1, 2, 3, 4], [number, 7, 8]) for number in range(4)]
    list(log_likelihoods(model, requests, SEQ_LEN))
    assert shapes == [(1, 4 + 4 * 2)]


def test_beginnings_are_computed_once_wherever_they_are(seen):
    model, shapes = seen
    texts = [[0, a, b, c, 9] for a in range(2) for b in range(3) for c in range(4)]
    random.Random(0).shuffle(texts)
    list(log_likelihoods(model, [Request(text[:1], text[1:]) for text in texts], SEQ_LEN))
    assert shapes == [(1, 1 + 2 + 6 + 24)]


def test_short_requests_fill_rows(seen):
    model, shapes = seen
    requests = [Request([n], [1, 2, 3, 4]) for n in range(48)]
    list(log_likelihoods(model, requests, SEQ_LEN))
    assert shapes == [(2, 128 // 4 * 4)]


def test_what_shares_a_long_context_stays_together_up_to_the_model_s_length(seen):
    model, shapes = seen
    context = list(range(30))
    list(log_likelihoods(model, [Request(context, [n, 1, 2]) for n in range(40)], SEQ_LEN))
    assert shapes == [(8, 30 + 5 * 2)]


def test_a_continuation_longer_than_the_model_is_scored_in_pieces():
    model = model_of("Llama")
    request = Request([3, 1, 4], [n % 50 for n in range(95)])
    pieces = crop(request, SEQ_LEN)
    assert [i for piece in pieces for i in piece.continuation] == request.continuation
    assert all(len(one.context) + len(one.continuation) - 1 <= SEQ_LEN for one in pieces)
    assert pieces[0].context == request.context and len(pieces[2].context) == SEQ_LEN // 2 + 1
    (scores,) = log_likelihoods(model, [request], SEQ_LEN)
    expected = sum(one_at_a_time(model, piece)[0] for piece in pieces)
    assert scores[0].nats == pytest.approx(expected, abs=1e-4)


def test_a_long_context_is_cut_on_the_left():
    (cut,) = crop(Request(list(range(100)), [7, 8, 9]), 10)
    assert cut == Request([92, 93, 94, 95, 96, 97, 98, 99], [7, 8, 9])
    (whole,) = crop(Request([1, 2], [3]), 2)
    assert whole == Request([1, 2], [3])


@pytest.fixture(scope="module")
def byte_tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


def test_spaces_at_the_end_of_the_context_are_scored(byte_tokenizer):
    requests = encode_choices(byte_tokenizer, "The fox \n", ["ran", "sat"])
    assert [byte_tokenizer.decode(one.context) for one in requests] == ["The fox"] * 2
    assert [byte_tokenizer.decode(r.continuation) for r in requests] == [" \nran", " \nsat"]


def test_an_empty_context_is_the_token_before_documents(byte_tokenizer):
    end = byte_tokenizer.end_of_text_id
    assert encode_choices(byte_tokenizer, "", ["ab"]) == [([end], [97, 98])]
    assert encode_choices(byte_tokenizer, "  ", ["a"])[0].context == [end]


def test_a_begin_of_text_of_its_own_is_before_every_context():
    tokenizer = Tokenizer(train_tokenizer(begin="<s>"), "</s>", "<s>")
    (request,) = encode_choices(tokenizer, "The fox", [" ran"])
    assert request.context == [tokenizer.bos_id, *tokenizer.encode("The fox")]
    (request,) = encode_choices(tokenizer, "", [" ran"])
    assert request.context == [tokenizer.bos_id]


def test_a_token_across_the_boundary_is_scored_with_what_precedes_it():
    tokenizer = superword_tokenizer()
    assert tokenizer.tokens(tokenizer.encode("The fox ran")) == ["T", "h", "e", " fox r", "a", "n"]
    requests = encode_choices(tokenizer, "The fox", [" ran", "s"])
    assert [tokenizer.decode(one.context) for one in requests] == ["The", "The"]
    assert [tokenizer.decode(one.continuation) for one in requests] == [" fox ran", " foxs"]
    # Swallowed whole: nothing would be left after the tokens of the context alone.
    (request,) = encode_choices(tokenizer, "The fox", [" r"])
    assert tokenizer.decode(request.continuation) == " fox r"
    # Where no token crosses it, the cut is where the context ends.
    (request,) = encode_choices(tokenizer, "The fox", ["sat"])
    assert tokenizer.decode(request.continuation) == "sat"
