"""What every combination of blocks must satisfy, over the tables of blocks."""

from itertools import cycle, product
from typing import get_args

import pytest
import torch

from yxanul.model.blocks.ffn import FFNS
from yxanul.model.blocks.norm import NORMS
from yxanul.model.cache import KvCache
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

LENGTH = 9
KV_HEADS = (4, 2, 1)
POSITIONS = get_args(ModelSettings.model_fields["positions"].annotation)
HEADS = (("tied", None), ("untied", None), ("untied", 8), ("folded", 8))
MASKING = (False, True)


def grid():
    """Cross positions, heads and masking; most other pairs of parts occur too."""
    inner, kv_heads = cycle(product(FFNS, NORMS, (False, True))), cycle(KV_HEADS)
    for outer in product(POSITIONS, HEADS, MASKING):
        yield next(kv_heads), *outer, *next(inner)
    for parts in product(FFNS, NORMS, (False, True)):
        yield 2, "rope", ("tied", None), False, *parts


def settings_of(kv_heads, positions, head, masking, ffn, norm, qk_norm):
    return ModelSettings(
        width=32, depth=2, num_heads=4, num_kv_heads=kv_heads, ffn_width=48, max_seq_len=16,
        vocab_size=50, positions=positions, head=head[0], embedding_rank=head[1],
        document_masking=masking, ffn=ffn, norm=norm, qk_norm=qk_norm, init_std=0.25,
    )  # fmt: skip


@pytest.fixture(params=grid(), ids=lambda parts: "-".join(str(part) for part in parts))
def model(request):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = LanguageModel(settings_of(*request.param))
    model.init_weights(torch.Generator().manual_seed(0))
    yield model
    torch.set_num_threads(before)


@pytest.fixture
def ids_BT():
    return torch.randint(0, 50, (2, LENGTH), generator=torch.Generator().manual_seed(1))


DOCUMENTS_BT = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 3, 4, 4]])


def logits_of(model, ids_BT):
    with torch.no_grad():
        return model.logits(model.hidden(ids_BT, DOCUMENTS_BT))


def test_a_token_changes_nothing_before_it(model, ids_BT):
    before = logits_of(model, ids_BT)
    for j in range(LENGTH):
        changed = ids_BT.clone()
        changed[:, j] = (changed[:, j] + 1) % 50
        difference = (logits_of(model, changed) - before).abs().amax(-1)
        assert difference[:, :j].sum() == 0
        assert (difference[:, j] > 1e-3).all()


def test_other_documents_are_seen_unless_masked(model, ids_BT):
    changed = ids_BT.clone()
    changed[0, 2] = (changed[0, 2] + 1) % 50
    difference = (logits_of(model, changed) - logits_of(model, ids_BT)).abs().amax(-1)[0]
    assert difference[3] > 1e-4
    assert (difference[4:].max() == 0) == model.settings.document_masking


@pytest.mark.parametrize("cuts", [(1,) * LENGTH, (4, 1, 3, 1)], ids=["one by one", "in chunks"])
def test_decoding_with_a_cache_equals_the_full_pass(model, ids_BT, cuts):
    with torch.no_grad():
        whole = model.logits(model.hidden(ids_BT))
        cache = KvCache(model.settings, batch=2, length=LENGTH)
        parts = [model.logits(model.hidden(part, cache=cache)) for part in ids_BT.split(cuts, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)


def test_every_parameter_learns(model, ids_BT):
    model.loss(ids_BT, ids_BT.roll(-1, 1), DOCUMENTS_BT).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
