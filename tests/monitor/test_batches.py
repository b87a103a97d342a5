import json

import numpy as np
import pytest

from yxanul.monitor.batches import MAX_NGRAMS, BatchWatch

RANDOM = np.random.default_rng(4)


def rows(stream, count=4, length=64):
    """Cut ids and targets of rows from the start of a stream."""
    ids = stream[: count * length].reshape(count, length)
    return ids.copy(), stream[1 : count * length + 1].reshape(count, length).copy()


def stream(length=1000, vocab=500):
    return RANDOM.integers(0, vocab, length)


def test_entropy_and_copied_targets_are_those_of_the_targets_that_count():
    watch = BatchWatch()
    ids, targets = rows(stream())
    targets[:, :10] = -100
    targets[:, 10:20] = ids[:, 10:20]
    for half in (slice(0, 2), slice(2, 4)):
        watch.add(ids[half], targets[half])
    found, counted = watch.metrics(), targets[targets >= 0]
    shares = np.unique(counted, return_counts=True)[1] / len(counted)
    assert found["data/unigram_entropy"] == pytest.approx(-(shares * np.log(shares)).sum())
    copied = (targets == ids).sum() / len(counted)
    assert found["data/target_is_input"] == pytest.approx(copied) and copied >= 10 / 54
    assert watch.metrics() == {}


def test_the_checksum_is_that_of_the_rows_however_they_are_split():
    ids, targets = rows(stream())
    checksums = set()
    for sizes in ((4,), (1, 3)):
        watch, start = BatchWatch(), 0
        for size in sizes:
            watch.add(ids[start : start + size], targets[start : start + size])
            start += size
        checksums.add(watch.metrics()["data/checksum"])
    assert len(checksums) == 1
    ids[0, 0] += 1
    watch.add(ids, targets)
    assert watch.metrics()["data/checksum"] not in checksums


def test_rows_that_are_copies_are_counted_over_micro_batches():
    watch = BatchWatch()
    ids, targets = rows(stream())
    for _ in range(2):
        watch.add(ids, targets)
    assert watch.metrics()["data/repeated_rows"] == 0.5
    watch.add(ids, targets)
    assert watch.metrics()["data/repeated_rows"] == 0
    short, targets = rows(stream(), length=8)
    watch.add(short, targets)
    assert "data/repeated_rows" not in watch.metrics()


def test_held_out_ngrams_are_found_wherever_they_are_in_a_row():
    held_out = [stream(96), stream(20), stream(64)]  # 3, no and 2 n-grams
    watch = BatchWatch(held_out)
    ids, targets = rows(stream())
    watch.add(ids, targets)
    assert watch.metrics()["data/held_out_seen"] == 0
    ids[1, 7:39] = held_out[0][32:64]
    watch.add(ids, targets)
    assert watch.metrics()["data/held_out_seen"] == pytest.approx(1 / 5)
    ids[2, :] = held_out[2]
    watch.add(ids, targets)
    assert watch.metrics()["data/held_out_seen"] == pytest.approx(3 / 5)
    resumed = BatchWatch(held_out)
    resumed.load(json.loads(json.dumps(watch.to_dict())))
    resumed.add(ids[:1], targets[:1])
    assert resumed.metrics()["data/held_out_seen"] == pytest.approx(3 / 5)
    for other in ([stream(320)], [*held_out[:2], stream(64)]):  # other text: begun afresh
        resumed = BatchWatch(other)
        resumed.load(watch.to_dict())
        resumed.add(*rows(stream()))
        assert resumed.metrics()["data/held_out_seen"] == 0


def test_long_held_out_text_is_sampled_and_short_rows_have_no_ngrams():
    watch = BatchWatch([stream(40 * MAX_NGRAMS)])
    assert len(watch.to_dict()["seen"]) <= MAX_NGRAMS // 4
    ids, targets = rows(stream(), length=8)
    watch.add(ids, targets)
    assert watch.metrics()["data/held_out_seen"] == 0
