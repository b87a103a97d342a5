import pytest
from hypothesis import given
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.data.batches import cut_windows, group_windows

lengths = st.lists(st.integers(0, 60), max_size=12)


@given(lengths=lengths, seq_len=st.integers(1, 20), data=st.data())
def test_every_token_is_scored_once_with_what_the_window_allows_before_it(lengths, seq_len, data):
    stride = data.draw(st.one_of(st.none(), st.integers(1, seq_len)))
    windows = cut_windows(lengths, seq_len, stride)
    scored = [(w.document, i) for w in windows for i in range(w.scored, w.end)]
    assert scored == [(d, i) for d, length in enumerate(lengths) for i in range(length)]
    for window in windows:
        assert 0 < window.end - window.start <= seq_len
        wanted = seq_len - (stride or max(1, seq_len // 2))
        assert window.scored - window.start >= min(window.scored, wanted)


@given(lengths=lengths, seq_len=st.integers(1, 20), rows=st.integers(1, 4))
def test_groups_hold_all_windows_and_no_more_tokens_than_asked(lengths, seq_len, rows):
    windows = cut_windows(lengths, seq_len)
    groups = list(group_windows(windows, seq_len, rows))
    assert sorted(w for group in groups for w in group) == sorted(windows)
    for group in groups:
        sizes = [window.end - window.start for window in group]
        assert sizes[0] == max(sizes)
        assert max(sizes) * len(sizes) <= rows * seq_len


def test_short_documents_share_a_batch():
    groups = list(group_windows(cut_windows([8] * 64 + [512], 512), 512, 1))
    assert [len(group) for group in groups] == [1, 64]


@pytest.mark.parametrize("stride", [0, 9, -1])
def test_an_impossible_stride_is_refused(stride):
    with pytest.raises(YxanulError, match="stride"):
        cut_windows([5], 8, stride)
