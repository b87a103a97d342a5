from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yxanul.base.errors import YxanulError
from yxanul.data.batches import IGNORE, BatchLoader, WindowShape, text_batches, validation_batches
from yxanul.data.mix import MixCursor, Row, plan_rows
from yxanul.data.order import TokenStream

END = 0
quick = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def orders(make_shards):
    one = [[[10 * d + i for i in range(1, 2 + d % 7)] + [END] for d in range(1, 15)]]
    two = [[[500 + d, END]] for d in range(9)]
    return {
        "one": TokenStream(make_shards(one, source="one"), 3),
        "two": TokenStream(make_shards(two, source="two"), 3),
    }


def by_hand(orders, rows, seq_len):
    """The slow way: every row read alone."""
    for row in rows:
        ids, documents = orders[row.source].read(row.start, seq_len + 1)
        yield ids[:-1].tolist(), ids[1:].tolist(), (documents[:-1] - documents[0]).tolist()


@pytest.mark.parametrize("weights", [{"one": 1}, {"one": 0.7, "two": 0.3}])
def test_a_batch_is_its_rows_read_alone(orders, weights):
    rows, _ = plan_rows(MixCursor(), weights, 24, 5)
    batch = BatchLoader(orders).load(rows, 5)
    found = zip(
        batch.ids_BT.tolist(), batch.targets_BT.tolist(), batch.documents_BT.tolist(), strict=True
    )
    assert list(found) == list(by_hand(orders, rows, 5))
    assert batch.ids_BT.dtype == batch.targets_BT.dtype == batch.documents_BT.dtype == torch.int64
    assert batch.ids_BT.shape == (24, 5)
    assert batch.num_targets == 24 * 5


def test_rows_in_any_order_and_with_gaps(orders):
    rows = [Row("one", 30), Row("two", 4), Row("one", 10), Row("one", 15), Row("one", 0)]
    batch = BatchLoader(orders).load(rows, 5)
    assert batch.ids_BT.tolist() == [ids for ids, _, _ in by_hand(orders, rows, 5)]


def test_targets_are_the_next_tokens_and_go_on_in_the_next_row(orders):
    rows, _ = plan_rows(MixCursor(), {"one": 1}, 6, 4)
    batch = BatchLoader(orders).load(rows, 4)
    stream = orders["one"].read(0, 25)[0].tolist()
    assert batch.ids_BT.flatten().tolist() == stream[:-1]
    assert batch.targets_BT.flatten().tolist() == stream[1:]


def test_documents_change_after_every_end_of_text_and_begin_at_zero(orders):
    rows, _ = plan_rows(MixCursor(), {"one": 1, "two": 1}, 30, 16)
    batch = BatchLoader(orders).load(rows, 16)
    assert torch.equal(batch.documents_BT[:, 0], torch.zeros(30, dtype=torch.int64))
    steps = batch.documents_BT.diff(dim=1)
    assert torch.equal(steps, (batch.ids_BT[:, :-1] == END).long())


def test_an_unknown_source_is_an_error(orders):
    with pytest.raises(YxanulError, match=r"'on'.*'one'\?"):
        BatchLoader(orders).load([Row("on", 0)], 4)


def scored(batches):
    """Every scored position as (ids up to it, target), counted."""
    found = Counter()
    for batch in batches:
        for ids, targets in zip(batch.ids_BT.tolist(), batch.targets_BT.tolist(), strict=True):
            for place, target in enumerate(targets):
                if target != IGNORE:
                    found[(*ids[: place + 1], target)] += 1
    return found


@quick
@given(
    texts=st.lists(st.lists(st.integers(1, 9), max_size=30), max_size=8),
    seq_len=st.integers(2, 12),
    rows=st.integers(1, 3),
)
def test_every_token_of_every_text_is_scored_once(texts, seq_len, rows):
    numbered = [[100 * n + i for i in range(len(text))] for n, text in enumerate(texts, 1)]
    batches = list(text_batches(numbered, END, WindowShape(seq_len=seq_len, rows=rows)))
    targets = Counter(target for *_, target in scored(batches))
    assert targets == Counter(i for text in numbered for i in text)
    assert sum(batch.num_targets for batch in batches) == sum(map(len, texts))


@quick
@given(texts=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=30), max_size=8))
def test_what_is_scored_does_not_depend_on_padding_or_on_the_other_texts(texts):
    tight, wide = WindowShape(8, rows=3), WindowShape(8, rows=3, pad_to=50)
    together = scored(text_batches(texts, END, tight))
    assert scored(text_batches(texts, END, wide)) == together
    alone = [scored(text_batches([text], END, WindowShape(8, rows=1))) for text in texts]
    assert sum(alone, Counter()) == together


def test_a_text_is_predicted_from_an_end_of_text_on():
    (batch,) = text_batches([[5, 6, 7, END]], END, WindowShape(seq_len=8, rows=1))
    assert batch.ids_BT.tolist() == [[END, 5, 6, 7]]
    assert batch.targets_BT.tolist() == [[5, 6, 7, END]]
    assert batch.documents_BT.tolist() == [[0, 0, 0, 0]]


def test_a_long_text_moves_on_by_the_stride():
    text = list(range(1, 12))
    shape = WindowShape(seq_len=6, rows=1, stride=4)
    found = {
        tuple(batch.ids_BT[0].tolist()): batch.targets_BT[0].tolist()
        for batch in text_batches([text], END, shape)
    }
    assert found == {
        (END, 1, 2, 3, 4, 5): [1, 2, 3, 4, 5, 6],
        (4, 5, 6, 7, 8, 9): [IGNORE, IGNORE, 7, 8, 9, 10],
        (5, 6, 7, 8, 9, 10): [IGNORE] * 5 + [11],
    }


def test_padding_has_no_target():
    (batch,) = text_batches([[1, 2, 3], [4]], END, WindowShape(seq_len=4, rows=2))
    assert batch.targets_BT.tolist() == [[1, 2, 3], [4, IGNORE, IGNORE]]


def test_validation_scores_every_token_of_the_shards_once(make_shards):
    documents = [[100 * d + i for i in range(1, 2 + 3 * d)] + [END] for d in range(1, 9)]
    shards = make_shards([documents[:3], [], documents[3:]])
    batches = list(validation_batches(shards, WindowShape(seq_len=8, rows=2)))
    assert sum(batch.num_targets for batch in batches) == shards.num_tokens
    targets = Counter(target for *_, target in scored(batches))
    assert targets == Counter(i for document in documents for i in document)
    assert scored(batches) == scored(text_batches(documents, END, WindowShape(8, rows=2)))


def test_validation_of_some_documents(make_shards):
    shards = make_shards([[[n, n + 100, END] for n in range(1, 20)]])
    batches = validation_batches(shards, WindowShape(8, rows=2), documents=[3, 7])
    targets = Counter(target for *_, target in scored(batches))
    assert targets == Counter([4, 104, END, 8, 108, END])
    assert np.sum(shards.document_bytes[[3, 7]]) == 12
