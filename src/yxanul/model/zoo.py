"""Model presets. A recipe may override any field next to `preset:`."""

from __future__ import annotations

from typing import Any


def _plain(
    depth: int, width: int, *, num_kv_heads: int, ffn_width: int, max_seq_len: int
) -> dict[str, Any]:
    """Return a shape whose heads have a width of 64."""
    return {
        "width": width,
        "depth": depth,
        "num_heads": width // 64,
        "num_kv_heads": num_kv_heads,
        "ffn_width": ffn_width,
        "max_seq_len": max_seq_len,
    }


_28X768 = _plain(28, 768, num_kv_heads=2, ffn_width=2048, max_seq_len=4096)
_DEEP = {**_28X768, "vocab_size": 50257}
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

AUTO_PRESETS = ("nano", "5x192", "micro", "8x384", "mini", "20x640", "28x768")
"""Choices of `preset: auto`, smallest first."""
AUTO_PRESET = "micro"
"""Stands for `auto` until one is chosen, and where no budget in minutes says by what to choose."""

PRESETS: dict[str, dict[str, Any]] = {
    # For laptops and tests; vocab_size is the tokenizer's (4,096 to 8,192 suits these widths).
    # Sizes between those with a name are depth x width.
    "nano": _plain(4, 128, num_kv_heads=1, ffn_width=256, max_seq_len=1024),
    "5x192": _plain(5, 192, num_kv_heads=1, ffn_width=512, max_seq_len=1024),
    "micro": _plain(7, 256, num_kv_heads=2, ffn_width=704, max_seq_len=1024),
    "8x384": _plain(8, 384, num_kv_heads=2, ffn_width=1024, max_seq_len=1024),
    "mini": _plain(9, 512, num_kv_heads=4, ffn_width=1408, max_seq_len=2048),
    "20x640": _plain(20, 640, num_kv_heads=2, ffn_width=1728, max_seq_len=2048),
    "28x768": _28X768,
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
