"""From JSON lines to token ids in a file, by us and by the two usual ways.

Each function is the whole work of a process. The peers split nothing off for validation, which
spares them a little work.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = "text"
HELD_OUT = 0.01
NUM_PROC = 2
WRITE_BATCHES = 1024


def yxanul(corpus: str, out: str, gpt2: str, workers: int = NUM_PROC) -> dict[str, Any]:
    """Ours: text to shards, two workers."""
    from yxanul.base.ui import SilentUi
    from yxanul.data.config import DataSettings
    from yxanul.data.encode import prepare_corpus

    settings = DataSettings.model_validate(
        {
            "sources": {SOURCE: {"kind": "jsonl", "path": corpus, "text_column": "text"}},
            "validation_fraction": HELD_OUT,
            "workers": workers,
        }
    )
    tokenizer = _gpt2(gpt2)
    encoder = tokenizer.make_ready()
    report = prepare_corpus(settings, tokenizer, Path(out), SilentUi()).as_dict()
    found = {name: report[name][SOURCE] for name in ("documents", "tokens", "bytes", "dropped")}
    return found | {"encoder": encoder}


def datasets_tokenizers(corpus: str, out: str, gpt2: str) -> dict[str, Any]:
    """`datasets.map` in batches with `tokenizers`, then one file of uint16."""
    import os

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each of the two processes has its core
    import tokenizers

    raw = tokenizers.Tokenizer.from_str(_gpt2(gpt2).to_json())
    end = raw.token_to_id("<|endoftext|>")

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        raw.encode_special_tokens = True  # text never holds an end of text; a copy forgets this
        encodings = raw.encode_batch_fast(batch["text"], add_special_tokens=False)
        ids = [[*encoding.ids, end] for encoding in encodings]
        return {"ids": ids, "len": [len(row) for row in ids]}

    return _map_and_write(corpus, out, encode, batched=True)


def datasets_tiktoken(corpus: str, out: str, gpt2: str) -> dict[str, Any]:
    """As nanoGPT prepares its data: `datasets.map`, one text at a time, with `tiktoken`."""
    encoding = _tiktoken(gpt2)

    def encode(example: dict[str, str]) -> dict[str, Any]:
        ids = encoding.encode_ordinary(example["text"])
        ids.append(encoding.eot_token)
        return {"ids": ids, "len": len(ids)}

    return _map_and_write(corpus, out, encode, batched=False)


def yxanul_many(corpus: str, out: str, gpt2: str) -> dict[str, Any]:
    """Ours, with a shard for every file however many there are; not timed."""
    from yxanul.text.sources import file_source

    file_source.FILES_AS_PARTS = 1 << 20
    return yxanul(corpus, out, gpt2, workers=1)


def first_time(gpt2: str) -> dict[str, Any]:
    """Ours: what happens once on a machine, before anything is timed."""
    return {"encoder": _gpt2(gpt2).make_ready()}


def _map_and_write(corpus: str, out: str, encode: Any, batched: bool) -> dict[str, Any]:
    import datasets

    files = [str(path) for path in sorted(Path(corpus).glob("*.jsonl"))]
    cache = str(Path(out) / "cache")
    loaded: Any = datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache)
    encoded = loaded.map(encode, batched=batched, num_proc=NUM_PROC, remove_columns=["text"])
    total = int(np.sum(encoded["len"], dtype=np.uint64))
    ids = np.memmap(Path(out) / "ids.bin", dtype=np.uint16, mode="w+", shape=(total,))
    place = 0
    batches = min(WRITE_BATCHES, len(encoded))
    for number in range(batches):
        part = encoded.shard(num_shards=batches, index=number, contiguous=True)
        batch = np.concatenate(part.with_format("numpy")["ids"][:])
        ids[place : place + len(batch)] = batch
        place += len(batch)
    ids.flush()
    return {"documents": len(encoded), "tokens": total}


def _gpt2(folder: str) -> Any:
    from yxanul.base.ui import SilentUi
    from yxanul.tokenizer.build import build_gpt2
    from yxanul.tokenizer.config import Gpt2Settings

    return build_gpt2(Gpt2Settings(path=folder), list, SilentUi())


def _tiktoken(folder: str) -> Any:
    """GPT-2 for tiktoken from the two files, as it comes over the network otherwise."""
    import tiktoken

    from yxanul.tokenizer.byte_alphabet import token_bytes

    vocab = json.loads((Path(folder) / "encoder.json").read_text())
    end = {"<|endoftext|>": vocab.pop("<|endoftext|>")}
    letters, numbers, others = r" ?\p{L}++", r" ?\p{N}++", r" ?[^\s\p{L}\p{N}]++"
    return tiktoken.Encoding(
        "gpt2",
        pat_str=rf"'(?:[sdmt]|ll|ve|re)|{letters}|{numbers}|{others}|\s++$|\s+(?!\S)|\s",
        mergeable_ranks={token_bytes(token): rank for token, rank in vocab.items()},
        special_tokens=end,
    )


PREPARERS = {
    "yxanul": "peers.preparing:yxanul",
    "datasets-tokenizers": "peers.preparing:datasets_tokenizers",
    "datasets-tiktoken": "peers.preparing:datasets_tiktoken",
}
"""The contenders, ours first."""
