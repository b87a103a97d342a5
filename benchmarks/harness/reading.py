"""What is timed of our shards besides making them: opening, reading batches; and are they right?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpus import read_texts
from peers.preparing import HELD_OUT, SOURCE

BATCH_TOKENS = 1 << 16


def read_batches(shards: str, seq_len: int) -> dict[str, Any]:
    """Read every token once, in training's order, in batches of 65,536 tokens."""
    from yxanul.data.batches import BatchLoader
    from yxanul.data.mix import Row
    from yxanul.data.order import TokenStream
    from yxanul.data.shards import Shards

    start = time.perf_counter()
    order = TokenStream(Shards.open(Path(shards), SOURCE, "train"), seed=1)
    loader = BatchLoader({SOURCE: order})
    rows = BATCH_TOKENS // seq_len
    loader.load([Row(SOURCE, 0)], seq_len)
    opened = time.perf_counter()
    tokens = 0
    for first in range(0, order.epoch_tokens, BATCH_TOKENS):
        places = range(first, first + BATCH_TOKENS, seq_len)
        batch = loader.load([Row(SOURCE, place) for place in places], seq_len)
        assert batch.ids_BT.shape == (rows, seq_len)
        tokens += batch.ids_BT.numel()
    seconds = time.perf_counter() - opened
    return {
        "seq_len": seq_len,
        "tokens": tokens,
        "open_seconds": round(opened - start, 4),
        "tokens_per_second": round(tokens / seconds),
    }


def open_many(shards: str) -> dict[str, Any]:
    """Open a source of many shards, and read a first batch."""
    from yxanul.data.batches import BatchLoader
    from yxanul.data.mix import Row
    from yxanul.data.order import TokenStream
    from yxanul.data.shards import Shards

    start = time.perf_counter()
    opened = Shards.open(Path(shards), SOURCE, "train")
    open_seconds = time.perf_counter() - start
    loader = BatchLoader({SOURCE: TokenStream(opened, seed=1)})
    loader.load([Row(SOURCE, 0)], min(256, opened.num_tokens))
    return {
        "shards": len(opened.manifest.splits["train"].shards),
        "open_seconds": round(open_seconds, 4),
        "until_first_batch_seconds": round(time.perf_counter() - start, 4),
    }


def compare_ids(
    corpus: str, shards: str, others: dict[str, str], end_of_text: int
) -> dict[str, Any]:
    """Compare ids document by document with those of the peers, held-out documents included.

    The peers' files hold all documents in the order of the corpus, each with an end of text. Ours
    hold those of either split in that order: which split is told by the text.
    """
    from yxanul.data.shards import Shards
    from yxanul.text.split import is_held_out

    splits = {name: Shards.open(Path(shards), SOURCE, name) for name in ("train", "validation")}
    files = {name: np.fromfile(path, np.uint16) for name, path in others.items()}
    ends = {name: np.flatnonzero(ids == end_of_text) + 1 for name, ids in files.items()}
    used = dict.fromkeys(splits, 0)
    starts, differing = dict.fromkeys(files, 0), dict.fromkeys(files, 0)
    number = 0
    for number, text in enumerate(read_texts(Path(corpus)), start=1):
        split = "validation" if is_held_out(text, HELD_OUT) else "train"
        ours = splits[split].document(used[split])
        used[split] += 1
        for name, ids in files.items():
            theirs = ids[starts[name] : ends[name][number - 1]]
            starts[name] = ends[name][number - 1]
            differing[name] += not np.array_equal(ours, theirs)
    complete = all(used[name] == shards.num_documents for name, shards in splits.items())
    complete &= all(len(one) == number for one in ends.values())
    return {"documents": number, "complete": bool(complete), "differing": differing}
