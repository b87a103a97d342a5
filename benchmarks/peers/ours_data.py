"""yxanul: text to shards, reading them in training's order, and whether their ids are right.

Imports stand inside the functions: a process whose time and memory count loads what it needs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = "text"
HELD_OUT = 0.01
BATCH_TOKENS = 1 << 16


def data(job: dict[str, Any]) -> dict[str, Any]:
    """Encode a corpus into shards, with as many workers as there are cores."""
    from yxanul.base.ui import SilentUi
    from yxanul.data.config import DataSettings
    from yxanul.data.encode import prepare_corpus
    from yxanul.data.report import report_on

    source = {"kind": "jsonl", "path": job["corpus"], "text_column": "text"}
    fields = {"sources": {SOURCE: source}, "validation_fraction": HELD_OUT, "workers": job["cores"]}
    tokenizer = gpt2_tokenizer(job["gpt2"])
    encoder = tokenizer.make_ready()
    settings = DataSettings.model_validate(fields)
    report = report_on(prepare_corpus(settings, tokenizer, Path(job["out"]), SilentUi()))
    found = {name: report[name][SOURCE] for name in ("documents", "tokens", "bytes", "dropped")}
    return found | {"encoder": encoder}


def many_shards(job: dict[str, Any]) -> dict[str, Any]:
    """Encode a corpus with a shard for every file, however many there are; not timed."""
    from yxanul.text.sources import reader

    reader.FILES_AS_PARTS = 1 << 20
    return data(job | {"cores": 1})


def warm_up(gpt2: str) -> dict[str, Any]:
    """Do what happens once on a machine, before anything is timed."""
    return {"encoder": gpt2_tokenizer(gpt2).make_ready()}


def gpt2_tokenizer(folder: str) -> Any:
    """Return our GPT-2 tokenizer from its two files."""
    from yxanul.base.ui import SilentUi
    from yxanul.tokenizer.build import build_gpt2
    from yxanul.tokenizer.config import Gpt2Settings

    return build_gpt2(Gpt2Settings(path=folder), list, SilentUi())


def token_bytes(token: str) -> bytes:
    """Return the bytes of a token as GPT-2's files write it."""
    from yxanul.tokenizer import pre_tokenizers

    return pre_tokenizers.token_bytes(token)


def read_batches(shards: str, seq_len: int) -> dict[str, Any]:
    """Read every token once, in training's order, in batches of 65,536 tokens."""
    from yxanul.data.mix import Row
    from yxanul.data.order import TokenStream

    start = time.perf_counter()
    order = TokenStream(_open(shards), seed=1)
    loader = _loader({SOURCE: order})
    loader.load([Row(SOURCE, 0)], seq_len)
    opened = time.perf_counter()
    tokens = 0
    for first in range(0, order.epoch_tokens, BATCH_TOKENS):
        places = range(first, first + BATCH_TOKENS, seq_len)
        batch = loader.load([Row(SOURCE, place) for place in places], seq_len)
        assert batch.ids_BT.shape == (BATCH_TOKENS // seq_len, seq_len)
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
    from yxanul.data.mix import Row
    from yxanul.data.order import TokenStream

    start = time.perf_counter()
    opened = _open(shards)
    open_seconds = time.perf_counter() - start
    loader = _loader({SOURCE: TokenStream(opened, seed=1)})
    loader.load([Row(SOURCE, 0)], min(256, opened.num_tokens))
    return {
        "shards": len(opened.manifest.splits["train"].shards),
        "open_seconds": round(open_seconds, 4),
        "until_first_batch_seconds": round(time.perf_counter() - start, 4),
    }


def compare_ids(corpus: str, shards: str, others: Mapping[str, str]) -> dict[str, Any]:
    """Compare ids document by document with those of the peers, held-out documents included.

    The peers' files hold all documents in the order of the corpus, each with an end of text. Ours
    hold those of either split in that order: which split is told by the text.
    """
    from harness.texts import read_texts
    from yxanul.text.split import is_held_out

    splits = {name: _open(shards, split=name) for name in ("train", "validation")}
    files = {name: np.fromfile(path, np.uint16) for name, path in others.items()}
    end_of_text = splits["train"].end_of_text_id
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


def write_rows(recipe_path: Path, overrides: list[str], steps: int, array: Path) -> None:
    """Write the rows that `yxanul train` reads, in its order, each with the token that follows it.

    An array of uint16 (rows of all steps, seq_len + 1), as numpy saves it: what peers train on.
    """
    from yxanul.data.mix import MixCursor, plan_rows
    from yxanul.data.order import TokenStream
    from yxanul.recipe import load_recipe

    recipe = load_recipe(str(recipe_path), overrides)
    stage, shards, seed = recipe.stages[0], recipe.data.folder or "", recipe.seed
    seq_len, shuffle = stage.curriculum[0].seq_len, recipe.data.shuffle_tokens
    opened = {name: _open(shards, name) for name in stage.mix}
    loader = _loader({name: TokenStream(one, seed, shuffle) for name, one in opened.items()})
    cursor, found = MixCursor(), []
    for _ in range(steps):
        num_rows = recipe.train.batch_tokens // seq_len
        rows, cursor = plan_rows(cursor, stage.mix, num_rows, seq_len)
        batch = loader.load(rows, seq_len)
        ids_BS = np.concatenate([batch.ids_BT.numpy(), batch.targets_BT[:, -1:].numpy()], axis=1)
        found.append(ids_BS.astype(np.uint16))
    np.save(array, np.concatenate(found))


def _open(shards: str, source: str = SOURCE, split: Any = "train") -> Any:
    from yxanul.data.shards import Shards

    return Shards.open(Path(shards), source, split)


def _loader(orders: Mapping[str, Any]) -> Any:
    """Return what turns planned rows into batches."""
    from yxanul.data.batches import BatchLoader

    return BatchLoader(orders)
