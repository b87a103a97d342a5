import pytest
import torch

from yxanul.model.attention import cpu_blockwise
from yxanul.model.attention.mask import MaskSpec, document_positions

DOCUMENTS = torch.tensor([[3, 3, 3, 4, 5, 5, 5, 5], [9, 9, 9, 9, 9, 9, 9, 9]])


def test_positions_restart():
    assert document_positions(DOCUMENTS).tolist() == [
        [0, 1, 2, 0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5, 6, 7],
    ]


def test_mask_is_the_same_document_and_not_later():
    mask = MaskSpec(documents_BT=DOCUMENTS).mask(slice(0, 8), slice(0, 8), DOCUMENTS.device)
    assert mask.shape == (2, 1, 8, 8)
    for b, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(8), torch.arange(8)):
        expected = (DOCUMENTS[b, i] == DOCUMENTS[b, j]) & (j <= i)
        assert mask[b, 0, i, j] == expected


@pytest.mark.parametrize("positions", ["rope", "learned", "rope+learned"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_documents_equal_documents_alone(build, positions, dtype):
    model = build(positions=positions, document_masking=True, init_std=0.2).to(dtype)
    lengths = [5, 1, 9, 3]
    generator = torch.Generator().manual_seed(2)
    alone = [torch.randint(0, 50, (1, n), generator=generator) for n in lengths]
    numbers = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))[None]
    packed = model.hidden(torch.cat(alone, 1), numbers)
    apart = torch.cat([model.hidden(ids) for ids in alone], 1)
    near = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(packed, apart, rtol=near, atol=near)
    together = model.hidden(torch.cat(alone, 1))
    assert (together - apart).abs().max() > 0.1


def test_without_document_masking_the_numbers_change_nothing(build):
    model = build(init_std=0.2)
    ids = torch.arange(16).view(2, 8)
    assert torch.equal(model.hidden(ids, DOCUMENTS), model.hidden(ids))


SIGHTS = {
    "global": {},
    "windows": {"layer_pattern": "L", "window": 4, "num_kv_heads": 2},
    "mixed": {"layer_pattern": "LG", "window": 2, "num_kv_heads": 1, "qk_norm": True},
    "wide windows": {"layer_pattern": "LG", "window": 30},
}


@pytest.mark.parametrize("backend", ["reference", "sdpa", "cpu_blockwise"])
@pytest.mark.parametrize("mask_spec", SIGHTS)
@pytest.mark.parametrize("positions", ["rope", "rope+learned"])
def test_packed_documents_train_as_documents_alone(
    build, monkeypatch, backend, mask_spec, positions
):
    """Two rows of documents, cut differently: every loss and every gradient is the same."""
    monkeypatch.setattr(cpu_blockwise, "QUERIES_IN_BLOCK", 8)
    model = build(document_masking=True, init_std=0.2, positions=positions, **SIGHTS[mask_spec])
    model.attention_backend = backend
    generator = torch.Generator().manual_seed(2)
    lengths = [[5, 1, 9, 3], [8, 10]]
    ids, targets = torch.randint(0, 50, (2, 2, 18), generator=generator)
    documents = torch.stack(
        [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in lengths]
    )
    packed = model.token_scores(ids, targets, documents)[0]
    model.loss(ids, targets, documents).total.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for row, cuts in enumerate(lengths):
        start = 0
        for length in cuts:
            part = (slice(row, row + 1), slice(start, start + length))
            alone = model.token_scores(ids[part], targets[part])[0]
            torch.testing.assert_close(packed[part], alone, rtol=1e-5, atol=1e-5)
            model.loss(ids[part], targets[part]).total.backward()
            start += length
    for got, (name, parameter) in zip(gradients, model.named_parameters(), strict=True):
        assert (got - parameter.grad).norm() <= 1e-5 * parameter.grad.norm(), name
