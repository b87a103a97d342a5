import pytest
import torch

from yxanul.model.attention.flex import mask_mod
from yxanul.model.attention.mask import MaskSpec

CPU = torch.device("cpu")
DOCUMENTS = torch.tensor([[3, 3, 3, 4, 5, 5, 5, 5, 5], [9, 9, 9, 9, 9, 9, 9, 9, 1]])
LENGTH = DOCUMENTS.shape[1]


@pytest.mark.parametrize("documents_BT", [None, DOCUMENTS], ids=["rows", "documents"])
@pytest.mark.parametrize("window", [None, 1, 2, 5, 8, 9, 50])
def test_mask_and_mask_mod_say_the_same(window, documents_BT):
    mask_spec = MaskSpec(window, documents_BT)
    mask = mask_spec.mask(slice(0, LENGTH), slice(0, LENGTH), CPU)
    assert mask.shape == ((LENGTH, LENGTH) if documents_BT is None else (2, 1, LENGTH, LENGTH))
    grid = torch.meshgrid(*(torch.arange(n) for n in (2, 4, LENGTH, LENGTH)), indexing="ij")
    assert torch.equal(mask_mod(mask_spec)(*grid), mask.expand(2, 4, LENGTH, LENGTH))
    b, _, i, j = grid
    expected = (j <= i) & (i - j < (window or LENGTH))
    if documents_BT is not None:
        expected &= DOCUMENTS[b, i] == DOCUMENTS[b, j]
    assert torch.equal(mask.expand(2, 4, LENGTH, LENGTH), expected)


@pytest.mark.parametrize("documents_BT", [None, DOCUMENTS], ids=["rows", "documents"])
@pytest.mark.parametrize("window", [None, 3])
def test_a_part_of_the_mask(window, documents_BT):
    mask_spec = MaskSpec(window, documents_BT)
    whole = mask_spec.mask(slice(0, LENGTH), slice(0, LENGTH), CPU)
    part = mask_spec.mask(slice(4, 7), slice(2, 7), CPU)
    assert torch.equal(part, whole[..., 4:7, 2:7])


def test_when_causality_is_all():
    assert (
        MaskSpec().is_causal_only(9)
        and MaskSpec(9).is_causal_only(9)
        and MaskSpec(9).is_causal_only(3)
    )
    assert not MaskSpec(8).is_causal_only(9)
    assert not MaskSpec(None, DOCUMENTS).is_causal_only(9) and not MaskSpec(
        50, DOCUMENTS
    ).is_causal_only(9)


def test_gemma3_sees_511_tokens_back_and_not_512():
    mask = MaskSpec(512).mask(slice(600, 601), slice(0, 601), CPU)[0]
    assert mask[600 - 511 :].all() and not mask[: 600 - 511].any()
