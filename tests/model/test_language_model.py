import copy
import math

import pytest
import torch
import torch.nn.functional as F

from yxanul.base.errors import YxanulError
from yxanul.model.blocks.rope import RopeTables, rope_tables
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.model.loss import IGNORE

HEADS = {
    "tied": {"head": "tied"},
    "untied": {"head": "untied"},
    "folded": {"head": "folded", "embedding_rank": 8},
    "factorised, untied": {"head": "untied", "embedding_rank": 8},
}


def random_ids(generator, vocab_size=50, shape=(2, 20)):
    return torch.randint(0, vocab_size, shape, generator=generator)


@pytest.mark.parametrize("kind", HEADS)
def test_loss_is_cross_entropy_of_the_logits(build, generator, kind):
    model = build(**HEADS[kind], init_std=0.2)
    ids, targets = random_ids(generator), random_ids(generator)
    targets[0, :7] = IGNORE
    logits = model.logits(model.hidden(ids))
    assert logits.shape == (2, 20, 50)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    loss = model.loss(ids, targets)
    assert loss.count.item() == 33
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-5)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(loss.total, parameters)
    for got, wanted in zip(ours, torch.autograd.grad(expected, parameters), strict=True):
        assert (got - wanted).norm() <= 1e-5 * wanted.norm()
    each = model.token_scores(ids, targets)[0]
    assert each.shape == (2, 20) and each[0, :7].eq(0).all() and not each.requires_grad
    torch.testing.assert_close(each.sum(), loss.total.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_of_the_vocabulary_takes_no_part(build, generator, kind):
    model = build(**HEADS[kind])
    ids = random_ids(generator)
    before = model.loss(ids, ids).total
    with torch.no_grad():
        for table in (model.embedding.tokens, model.head):
            if table is not None:
                assert table.shape[0] == 64 and table[50:].abs().sum() == 0
                table[50:] = 100.0
    loss = model.loss(ids, ids).total
    torch.testing.assert_close(loss, before)
    loss.backward()
    assert model.embedding.tokens.grad[50:].abs().sum() == 0


@pytest.mark.parametrize("kind", HEADS)
def test_roles(build, kind):
    model = build(**HEADS[kind], positions="rope+learned", qk_norm=True, ffn="gelu")
    roles = model.parameter_roles()
    tables = {"embedding.tokens", "embedding.positions"} | ({"head"} if "untied" in kind else set())
    assert {name for name, role in roles.items() if role == "embedding"} == tables
    for name, parameter in model.named_parameters():
        assert (roles[name] == "norm") == (parameter.ndim == 1) == name.endswith("gain")
    matrices = {name for name, role in roles.items() if role == "matrix"}
    assert len(matrices) == 2 * 4 + ("embedding_rank" in HEADS[kind])
    assert ("embedding.projection.weight" in matrices) == ("embedding_rank" in HEADS[kind])


def test_initial_weights_follow_the_rule_and_the_generator():
    settings = ModelSettings(width=256, depth=8, num_heads=4, vocab_size=500, ffn="swiglu")
    model, mixed_precision = LanguageModel(settings), LanguageModel(settings)
    for one in (model, mixed_precision):
        one.init_weights(torch.Generator().manual_seed(5))
    small = {"attention.output.weight": 0, "ffn.down.weight": 0}
    for (name, weight), other in zip(
        model.named_parameters(), mixed_precision.parameters(), strict=True
    ):
        assert torch.equal(weight, other)
        if weight.ndim == 1:
            assert weight.eq(1).all()
            continue
        ending = ".".join(name.split(".")[2:])
        small[ending] = small.get(ending, 0) + 1
        std = 0.02 / 4 if ending in ("attention.output.weight", "ffn.down.weight") else 0.02
        assert weight[:500].std().item() == pytest.approx(std, rel=0.02)
    assert small["attention.output.weight"] == small["ffn.down.weight"] == 8
    mixed_precision.init_weights(torch.Generator().manual_seed(6))
    assert not torch.equal(model.embedding.tokens, mixed_precision.embedding.tokens)


@pytest.mark.parametrize(
    "fields",
    [
        {"preset": "nano", "vocab_size": 4096},
        {"preset": "micro", "vocab_size": 4096},
        {"preset": "mini", "vocab_size": 8192, "depth": 3},
        {"preset": "yxanul-177m", "depth": 2},
        {"preset": "nano", "vocab_size": 5000, "head": "untied"},
    ],
)
def test_loss_at_the_start_is_that_of_guessing(fields, generator):
    model = LanguageModel(ModelSettings(**fields))
    model.init_weights(generator)
    vocab_size = model.settings.known_vocab_size
    ids, targets = (random_ids(generator, vocab_size, (2, 128)) for _ in range(2))
    with torch.no_grad():
        spread = model.logits(model.hidden(ids)).std().item()
    loss = model.token_scores(ids, targets)[0].mean().item()
    assert loss == pytest.approx(math.log(vocab_size) + spread**2 / 2, abs=0.05)


@pytest.mark.parametrize("kind", HEADS)
def test_a_bf16_twin_stays_near_its_master(build, generator, kind):
    master = build(**HEADS[kind], init_std=0.1, qk_norm=True, positions="rope+learned")
    mixed_precision = copy.deepcopy(master).to(torch.bfloat16)
    assert {p.dtype for p in mixed_precision.parameters()} == {torch.bfloat16}
    ids, targets = random_ids(generator), random_ids(generator)
    losses = [model.loss(ids, targets).total for model in (master, mixed_precision)]
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0.01, atol=0)
    for loss in losses:
        loss.backward()
    for (name, ours), theirs in zip(
        master.named_parameters(), mixed_precision.parameters(), strict=True
    ):
        error = (theirs.grad.float() - ours.grad).norm() / ours.grad.norm()
        assert error < 0.1, name


def test_rotary_tables_are_exact_in_any_order_of_asking():
    exact = rope_tables(64, 16, 10_000.0)
    tables = RopeTables(16, 10_000.0, max_seq_len=600)
    for dtype in (torch.bfloat16, torch.float32):
        for end in (3, 40, 500, 600):
            rope = tables.at(slice(1, 3), end, torch.empty(0, dtype=dtype))
            assert rope.cos.dtype == dtype and rope.cos.shape == (2, 1, 16)
            assert torch.equal(rope.cos.squeeze(1), exact.cos[1:3].to(dtype))
            assert torch.equal(rope.sin.squeeze(1), exact.sin[1:3].to(dtype))


def test_rotary_tables_made_while_generating_serve_training(build):
    model = build()
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with torch.inference_mode():
        model.hidden(ids)
    model.loss(ids, ids).total.backward()
    assert not any("rope" in name for name in model.state_dict())


def test_weights_load_into_another_model(build, generator):
    model, other = build(init_std=0.1), LanguageModel(build().settings)
    other.load_state_dict(model.state_dict())
    ids = random_ids(generator)
    assert torch.equal(model.logits(model.hidden(ids)), other.logits(other.hidden(ids)))


def test_a_longer_sequence_than_the_model_knows_is_refused(build):
    with pytest.raises(YxanulError, match="got 33 tokens; expected at most 32"):
        build().hidden(torch.zeros(1, 33, dtype=torch.int64))


def test_gradients_do_not_depend_on_the_split_into_rows(build, generator):
    """Sums over targets add up: whole batch = row by row, also with unequal counts."""
    model = build(init_std=0.2)
    ids, targets = random_ids(generator), random_ids(generator)
    targets[1, 5:] = IGNORE
    model.loss(ids, targets).total.backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for row in range(2):
        model.loss(ids[row : row + 1], targets[row : row + 1]).total.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, whole[name], rtol=1e-4, atol=1e-5)


def test_calling_the_model_gives_the_loss_as_plain_tensors(build, generator):
    """Wrappers for several devices find tensors in tuples only."""
    model = build()
    ids = torch.randint(0, model.settings.known_vocab_size, (2, 5), generator=generator)
    total, cross_entropy = model(ids, ids)
    loss = model.loss(ids, ids)
    assert torch.equal(total, loss.total) and torch.equal(cross_entropy, loss.cross_entropy)
