import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yxanul.base.seeds import derive_seed
from yxanul.data.order import TokenStream, first_order
from yxanul.data.shards import permutation

END = 0
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Documents of 1 to 9 tokens in up to 4 shards, some of which are empty.
corpora = st.lists(
    st.lists(st.integers(0, 8), max_size=5), min_size=1, max_size=4
).filter(lambda shards: any(shards))  # fmt: skip


def numbered(shards):
    """Give every document a content of its own: ids count up, the end of text comes last."""
    following = iter(range(1, 1000))
    return [[[next(following) for _ in range(size)] + [END] for size in sizes] for sizes in shards]


def stream_of(shards, seed, group_tokens, epochs):
    """The stream told by the slow way: parts in their order, group after group, document by
    document."""
    own = derive_seed(seed, "order", shards.source)
    ids, documents, running = [], [], 0
    for epoch in range(epochs):
        of_epoch = derive_seed(own, epoch)
        parts = permutation(shards.num_parts, derive_seed(own, epoch, "parts")).tolist()
        number = 0
        while parts:
            group, tokens = [], 0
            while parts and tokens < group_tokens:
                shard = shards.shard(parts.pop(0))
                tokens += shard.num_tokens
                cuts = zip(shard.starts, shard.starts[1:], strict=False) if shard.num_tokens else ()
                group += [shard.ids[start:end].tolist() for start, end in cuts]
            if not tokens:
                continue
            for place in permutation(len(group), derive_seed(of_epoch, number)).tolist():
                ids += group[place]
                documents += [running] * len(group[place])
                running += 1
            number += 1
    return ids, documents


@quick
@given(
    shards=corpora, seed=st.integers(0, 5), group=st.sampled_from([1, 9, 30, 999]), data=st.data()
)
def test_any_read_is_a_stretch_of_the_stream(make_shards, shards, seed, group, data):
    made = make_shards(numbered(shards))
    order = TokenStream(made, seed, group)
    ids, documents = stream_of(made, seed, group, 3)
    start = data.draw(st.integers(0, len(ids)))
    end = data.draw(st.integers(start, len(ids)))
    some_ids, some_documents = order.read(start, end - start)
    assert some_ids.tolist() == ids[start:end]
    assert some_documents.tolist() == documents[start:end]
    assert some_ids.dtype == some_documents.dtype == np.int64


@quick
@given(
    shards=corpora,
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    group=st.sampled_from([1, 20, 999]),
)
def test_reads_of_any_lengths_see_every_token_once_an_epoch(make_shards, shards, cuts, group):
    made = make_shards(numbered(shards))
    order = TokenStream(made, 7, group)
    wanted = sorted(i for shard in numbered(shards) for document in shard for i in document)
    ids, at = [], 0
    while at < 2 * made.num_tokens:
        count = min(cuts[len(ids) % len(cuts)], 2 * made.num_tokens - at)
        ids += order.read(at, count)[0].tolist()
        at += count
    assert sorted(ids[: made.num_tokens]) == wanted
    assert sorted(ids[made.num_tokens :]) == wanted


def test_a_read_may_span_many_epochs(make_shards):
    made = make_shards([[[1, END], [2, END]]])
    ids, documents = TokenStream(made, 0).read(1, 400)
    whole, numbers = stream_of(made, 0, 999, 101)
    assert ids.tolist() == whole[1:401]
    assert documents.tolist() == numbers[1:401]


def test_epochs_are_counted_when_they_are_over(make_shards):
    order = TokenStream(make_shards(numbered([[3, 2], [4]])), 1)
    whole = order.epoch_tokens
    for position in (0, 1, whole - 1, whole, whole + 1, 2 * whole - 1, 2 * whole, 7 * whole + 3):
        order.read(0, position)
        assert order.epochs_before(position) == (0 if position <= whole else position // whole)


def test_epochs_seeds_and_sources_differ(make_shards):
    tokens = [[[n, END] for n in range(1, 60)]]
    one = make_shards(tokens, source="one")
    order = TokenStream(one, 0)
    epochs = [order.read(e * one.num_tokens, one.num_tokens)[0].tolist() for e in range(3)]
    others = [TokenStream(one, 1), TokenStream(make_shards(tokens, source="two"), 0)]
    firsts = [other.read(0, one.num_tokens)[0].tolist() for other in others]
    assert len({tuple(ids) for ids in (*epochs, *firsts)}) == 5


def test_going_back_and_forth_between_epochs_changes_nothing(make_shards):
    shards = make_shards([[[n, END] for n in range(1, 30)]])
    order, total = TokenStream(shards, 0), shards.num_tokens
    far = [order.read(epoch * total + 3, 5)[0].tolist() for epoch in (0, 5, 1, 9)]
    fresh = TokenStream(shards, 0)
    assert [fresh.read(e * total + 3, 5)[0].tolist() for e in (9, 1, 5, 0)] == far[::-1]


def test_positions_beyond_32_bits(make_shards):
    shards = make_shards([[[1, 2, END], [3, END]]])
    order = TokenStream(shards, 0)
    epoch = 3_000_000_000
    ids, documents = order.read(epoch * shards.num_tokens, shards.num_tokens)
    assert sorted(ids.tolist()) == [0, 0, 1, 2, 3]
    assert documents[0] == 2 * epoch


class Watched:
    """Parts that note which of them were looked at."""

    def __init__(self, shards):
        self.source, self.num_parts, self._shards = shards.source, shards.num_parts, shards
        self.seen = []

    def shard(self, number):
        self.seen.append(number)
        return self._shards.shard(number)


def test_only_the_parts_up_to_the_position_are_looked_at(make_shards):
    """Then training can begin before all parts are encoded."""
    made = make_shards([[[n, END]] * 3 for n in range(1, 9)])
    parts = Watched(made)
    order, first = TokenStream(parts, 3, group_tokens=10), first_order(8, 3, made.source).tolist()
    order.read(0, 12)
    assert parts.seen == first[:2]
    order.read(10, 14)
    assert parts.seen == first[:4]
    order.read(0, 48)
    assert parts.seen == first
    order.read(48, 1)
    assert len(parts.seen) > 8, "the second epoch needs the length of the first"


def test_the_permutation_never_changes():
    """A run that is resumed on another machine or version must meet the same order."""
    assert permutation(8, 1).tolist() == [4, 3, 7, 0, 1, 5, 6, 2]


@given(count=st.integers(1, 300), seed=st.integers(0, 2**63 - 1))
def test_a_permutation_has_every_number_once(count, seed):
    assert sorted(permutation(count, seed).tolist()) == list(range(count))


def test_permutations_are_even():
    """Every document comes first about equally often."""
    firsts = np.bincount([permutation(10, seed)[0] for seed in range(3000)], minlength=10)
    assert firsts.min() > 240 and firsts.max() < 360


@pytest.mark.parametrize("num_shards", [1, 40])
def test_no_document_is_read_by_itself(make_shards, num_shards):
    """A row of ten documents takes as many calls as a row of a hundred."""
    lengths = np.random.default_rng(0).integers(1, 400, size=4000)
    documents = [[7] * int(length) + [END] for length in lengths]
    order = TokenStream(make_shards([documents[n::num_shards] for n in range(num_shards)]), 0)
    order.read(0, 1)

    def calls(tokens):
        seen = []
        sys.setprofile(lambda frame, event, _: seen.append(frame) if event == "call" else None)
        try:
            order.read(0, tokens)
        finally:
            sys.setprofile(None)
        return len(seen)

    assert calls(20_000) < calls(2_000) + 10 * num_shards
