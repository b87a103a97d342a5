"""`datasets`: text to token ids by `datasets.map`, with `tokenizers` or with `tiktoken`.

It splits nothing off for validation, which spares it a little work.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

END_OF_TEXT = "<|endoftext|>"
WRITE_BATCHES = 1024


def data(job: dict[str, Any], by: str) -> dict[str, Any]:
    """Encode a corpus in as many processes as there are cores; write one file of uint16."""
    if by == "tokenizers":
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each of the processes has its core
    encode = {"tokenizers": tokenizers_batch, "tiktoken": tiktoken_one}[by](job["gpt2"])
    import datasets

    files = [str(path) for path in sorted(Path(job["corpus"]).glob("*.jsonl"))]
    cache = str(Path(job["out"]) / "cache")
    loaded: Any = datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache)
    encoded = loaded.map(
        encode, batched=by == "tokenizers", num_proc=job["cores"], remove_columns=["text"]
    )
    total = int(np.sum(encoded["len"], dtype=np.uint64))
    ids = np.memmap(Path(job["out"]) / "ids.bin", dtype=np.uint16, mode="w+", shape=(total,))
    place, batches = 0, min(WRITE_BATCHES, len(encoded))
    for number in range(batches):
        part = encoded.shard(num_shards=batches, index=number, contiguous=True)
        batch = np.concatenate(part.with_format("numpy")["ids"][:])
        ids[place : place + len(batch)] = batch
        place += len(batch)
    ids.flush()
    return {"documents": len(encoded), "tokens": total}


def tokenizers_batch(gpt2: str) -> Callable[[dict[str, list[str]]], dict[str, Any]]:
    """Return what encodes a batch of texts with `tokenizers`."""
    import tokenizers

    from peers.ours_data import gpt2_tokenizer

    raw = tokenizers.Tokenizer.from_str(gpt2_tokenizer(gpt2).to_json())
    end = raw.token_to_id(END_OF_TEXT)

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        raw.encode_special_tokens = True  # text never holds an end of text; a copy forgets this
        encodings = raw.encode_batch_fast(batch["text"], add_special_tokens=False)
        ids = [[*encoding.ids, end] for encoding in encodings]
        return {"ids": ids, "len": [len(row) for row in ids]}

    return encode


def tiktoken_one(gpt2: str) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Return what encodes one text at a time with `tiktoken`, as nanoGPT prepares its data.

    The encoding is made from GPT-2's two files, as it comes over the network otherwise.
    """
    import tiktoken

    from peers.ours_data import token_bytes

    vocab = json.loads((Path(gpt2) / "encoder.json").read_text())
    end = {END_OF_TEXT: vocab.pop(END_OF_TEXT)}
    letters, numbers, others = r" ?\p{L}++", r" ?\p{N}++", r" ?[^\s\p{L}\p{N}]++"
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=rf"'(?:[sdmt]|ll|ve|re)|{letters}|{numbers}|{others}|\s++$|\s+(?!\S)|\s",
        mergeable_ranks={token_bytes(token): rank for token, rank in vocab.items()},
        special_tokens=end,
    )

    def encode(example: dict[str, str]) -> dict[str, Any]:
        ids = encoding.encode_ordinary(example["text"])
        ids.append(encoding.eot_token)
        return {"ids": ids, "len": len(ids)}

    return encode
