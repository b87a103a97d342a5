"""The kernels of a GPU are called as they want to be: slow stand-ins take their arguments.

A stand-in has the signature of what it stands for, and computes what its documentation says.
"""

import inspect
import types

import pytest
import torch
from torch.nn.attention import varlen

from yxanul.model.attention import BACKENDS, flash
from yxanul.model.attention.backend import Shape
from yxanul.model.attention.flash import _window_size, find_sequences
from yxanul.model.attention.mask import MaskSpec

CPU = torch.device("cpu")
DOCUMENTS = torch.tensor([[0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]])
LENGTH = DOCUMENTS.shape[1]
SCALE = 0.4


def one_sequence(q_THK, k_TGK, v_TGK, window_size, scale):
    """Attend within one sequence; a window is how far is seen before and after, -1 is all."""
    index_T = torch.arange(len(q_THK))
    distance_TT = index_T[:, None] - index_T
    before, after = window_size
    seen_TT = (distance_TT <= before) | torch.tensor(before == -1)
    seen_TT &= (-distance_TT <= after) | torch.tensor(after == -1)
    repeats = q_THK.shape[1] // k_TGK.shape[1]
    k_THK, v_THK = (x.repeat_interleave(repeats, 1) for x in (k_TGK, v_TGK))
    scores_HTT = torch.einsum("thk,shk->hts", q_THK, k_THK) * scale
    shares_HTT = scores_HTT.masked_fill(~seen_TT, -torch.inf).softmax(-1)
    return torch.einsum("hts,shk->thk", shares_HTT, v_THK)


def many_sequences(qkv, starts, longest, window_size, scale):
    assert starts.dtype == torch.int32 and starts[0] == 0 and starts[-1] == len(qkv[0])
    lengths = starts.diff()
    assert (lengths > 0).all() and lengths.max() <= longest and isinstance(longest, int)
    parts = zip(*(x.split(lengths.tolist()) for x in qkv), strict=True)
    return torch.cat([one_sequence(*part, window_size, scale) for part in parts])


def slow_varlen_attn(  # noqa: PLR0913
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1),
    enable_gqa=False,
):  # fmt: skip
    assert torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k
    assert query.ndim == 3 and (enable_gqa or query.shape[1] == key.shape[1])
    return many_sequences((query, key, value), cu_seq_q, max_q, window_size, scale)


def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1)
):  # fmt: skip
    assert causal and dropout_p == 0.0 and q.ndim == 4
    window_size = (window_size[0], 0)
    return torch.stack(
        [one_sequence(*row, window_size, softmax_scale) for row in zip(q, k, v, strict=True)]
    )


def flash_attn_varlen_func(  # noqa: PLR0913
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0,
    softmax_scale=None, causal=False, window_size=(-1, -1),
):  # fmt: skip
    assert causal and dropout_p == 0.0 and q.ndim == 3
    assert torch.equal(cu_seqlens_q, cu_seqlens_k) and max_seqlen_q == max_seqlen_k
    return many_sequences((q, k, v), cu_seqlens_q, max_seqlen_q, (window_size[0], 0), softmax_scale)


@pytest.fixture
def _stand_ins(monkeypatch):
    real = inspect.signature(varlen.varlen_attn)

    def checked(*args, **kwargs):
        # Older versions have no grouped heads; then `unsupported_reason` keeps them away.
        known = {k: v for k, v in kwargs.items() if k != "enable_gqa" or k in real.parameters}
        real.bind(*args, **known)
        return slow_varlen_attn(*args, **kwargs)

    package = types.SimpleNamespace(
        flash_attn_func=flash_attn_func, flash_attn_varlen_func=flash_attn_varlen_func
    )
    monkeypatch.setattr(varlen, "varlen_attn", checked)
    monkeypatch.setattr(flash, "_flash_attn", lambda: package)


def results(name, shape, mask_spec, tensors):
    backend = BACKENDS[name]
    view = backend.context(mask_spec, shape, CPU)
    y = view.attend(*tensors, SCALE)
    return y, *torch.autograd.grad(y.square().sum(), tensors)


@pytest.mark.usefixtures("_stand_ins")
@pytest.mark.parametrize("name", ["varlen", "flash"])
@pytest.mark.parametrize("documents_BT", [None, DOCUMENTS], ids=["rows", "documents"])
@pytest.mark.parametrize("window", [None, 1, 3, 50])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_equals_the_definition(name, documents_BT, window, kv_heads):
    shape = Shape("cpu", torch.float32, 2, LENGTH, 4, kv_heads, 6, window, documents_BT is not None)
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn((2, LENGTH, heads, 6), generator=generator).requires_grad_()
        for heads in (4, kv_heads, kv_heads)
    ]
    mask_spec = MaskSpec(window, documents_BT)
    expected = results("reference", shape, mask_spec, tensors)
    for ours, wanted in zip(results(name, shape, mask_spec, tensors), expected, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


def test_windows_are_what_lies_before():
    assert _window_size(MaskSpec()) == (-1, 0)
    assert _window_size(MaskSpec(1)) == (0, 0)
    assert _window_size(MaskSpec(512)) == (511, 0)


def test_rows_are_sequences():
    starts, longest, _ = find_sequences(MaskSpec(4), 3, 5, CPU)
    assert starts.tolist() == [0, 5, 10, 15] and starts.dtype == torch.int32 and longest == 5


def test_documents_are_sequences():
    starts, longest, _ = find_sequences(MaskSpec(None, DOCUMENTS), 2, LENGTH, CPU)
    assert starts.tolist() == [0, 4, 5, 11, 22] and starts.dtype == torch.int32
    assert longest >= 11


def test_a_document_ends_with_its_row():
    starts, *_ = find_sequences(MaskSpec(None, torch.zeros(3, 4, dtype=torch.int64)), 3, 4, CPU)
    assert starts.tolist() == [0, 4, 8, 12]


@pytest.mark.parametrize("name", ["varlen", "flash"])
def test_reasons_without_a_kernel(name, monkeypatch):
    def reason(**fields):
        usual = Shape("cuda", torch.bfloat16, 1, 8, 4, 2, 64, 3, False)
        return BACKENDS[name].unsupported_reason(usual._replace(**fields))

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    arguments = frozenset({"scale", "window_size", "enable_gqa"})
    monkeypatch.setattr(flash, "_varlen_arguments", lambda: arguments)
    monkeypatch.setattr(flash, "_flash_attn", lambda: object())
    assert reason() is None and reason(dtype=torch.float16) is None
    assert "without a GPU" in reason(device="cpu")
    assert "half precision" in reason(dtype=torch.float32)
    assert "256" in reason(head_width=264)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "8.0" in reason()


def test_an_older_varlen_attn_is_told_by_its_arguments(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    shape = Shape("cuda", torch.bfloat16, 1, 8, 4, 2, 64, 3, False)
    backend = BACKENDS["varlen"]
    monkeypatch.setattr(flash, "_varlen_arguments", lambda: frozenset({"window_size"}))
    assert "grouped-query attention" in backend.unsupported_reason(shape)
    assert backend.unsupported_reason(shape._replace(num_kv_heads=4)) is None
    monkeypatch.setattr(flash, "_varlen_arguments", lambda: frozenset({"enable_gqa"}))
    assert "windows" in backend.unsupported_reason(shape)


def test_the_installed_varlen_attn_has_what_is_asked_for():
    assert {"scale", "window_size"} <= flash._varlen_arguments()
