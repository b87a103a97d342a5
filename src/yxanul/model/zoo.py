"""Model presets. A recipe may override any field next to `preset:`."""

from __future__ import annotations

from typing import Any

_DEEP: dict[str, Any] = {
    "width": 768,
    "depth": 28,
    "num_heads": 12,
    "num_kv_heads": 2,
    "ffn_width": 2048,
    "max_seq_len": 4096,
    "vocab_size": 50257,
}
_LARGE_VOCABULARY: dict[str, Any] = {
    "vocab_size": 200005,
    "embedding_rank": 128,
    "norm_eps": 1e-6,
}
_GEMMA3: dict[str, Any] = {
    "width": 640,
    "depth": 18,
    "num_heads": 4,
    "num_kv_heads": 1,
    "head_width": 256,
    "ffn": "geglu",
    "ffn_width": 2048,
    "norm": "zero_centered_rmsnorm",
    "norm_eps": 1e-6,
    "post_norm": True,
    "qk_norm": True,
    "query_scale": 256**-0.5,
    "embedding_scale": True,
    "layer_pattern": "LLLLLG",
    "window": 512,
    "rope_theta": 1_000_000.0,
    "rope_theta_local": 10_000.0,
    "max_seq_len": 32768,
}

PRESETS: dict[str, dict[str, Any]] = {
    # For laptops and tests; vocab_size is the tokenizer's (4,096 to 8,192 suits these widths).
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
    # Deep and narrow: 28 layers, narrow feed-forwards, few key/value heads.
    "yxanul-177m": {**_DEEP, "head": "folded", "embedding_rank": 128},
    "yxanul-197m": {**_DEEP, **_LARGE_VOCABULARY, "head": "folded"},
    "yxanul-270m": {
        **_DEEP,
        **_LARGE_VOCABULARY,
        "width": 640,
        "num_heads": 10,
        "ffn_width": 1712,
        "head": "untied",
        "head_init_std": (3 * 640) ** -0.5,
    },
    "yxanul-317m": {**_DEEP, "ffn_width": 3072, "positions": "rope+learned", "head": "untied"},
    # Announced as 497M; it has 302,882,304 parameters.
    "yxanul-497m": {**_DEEP, "num_kv_heads": 12, "ffn": "geglu", "ffn_width": 3072},
    # Gemma 3: five local layers, then one global (arXiv 2503.19786).
    "gemma3-270m": {**_GEMMA3, "vocab_size": 262144},
    "gemma3-tinystories": {
        **_GEMMA3,
        "vocab_size": 50257,
        "head": "untied",
        "head_init_std": (3 * 640) ** -0.5,
    },
}
"""Settings by preset name. head_init_std is the standard deviation of nn.Linear's default init."""
