"""The presets: a table of numbers. Any field may be overridden beside `preset:`."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # For laptops and tests; the vocabulary is the tokenizer's (4,096 to 8,192 suits them).
    "nano": {
        "width": 128,
        "depth": 4,
        "num_heads": 2,
        "num_kv_heads": 1,
        "ffn_width": 256,
        "max_seq_len": 1024,
    },
    "micro": {
        "width": 256,
        "depth": 7,
        "num_heads": 4,
        "num_kv_heads": 2,
        "ffn_width": 704,
        "max_seq_len": 1024,
    },
    "mini": {
        "width": 512,
        "depth": 9,
        "num_heads": 8,
        "num_kv_heads": 4,
        "ffn_width": 1408,
        "max_seq_len": 2048,
    },
    # Deep and narrow with a factorised embedding whose factors serve as the head again.
    "yxanul-177m": {
        "width": 768,
        "depth": 28,
        "num_heads": 12,
        "num_kv_heads": 2,
        "ffn_width": 2048,
        "max_seq_len": 4096,
        "embedding_rank": 128,
        "head": "folded",
        "vocab_size": 50257,
    },
}
