"""Our settings as the fields of litgpt's `Config`; imports none of it."""

from __future__ import annotations

from typing import Any

from yxanul.model.config import ModelSettings


def config_fields(settings: ModelSettings) -> dict[str, Any]:
    """Return a Llama-like configuration, its vocabulary rounded up to a multiple of 64."""
    return {
        "name": "llama",
        "block_size": settings.max_seq_len,
        "n_layer": settings.depth,
        "n_embd": settings.width,
        "n_head": settings.num_heads,
        "n_query_groups": settings.num_kv_heads,
        "head_size": settings.head_width,
        "vocab_size": settings.num_tokens,
        "padding_multiple": 64,
        "intermediate_size": settings.ffn_width,
        "norm_class_name": "RMSNorm",
        "norm_eps": settings.norm_eps,
        "mlp_class_name": "LLaMAMLP",
        "rotary_percentage": 1.0,
        "rope_base": round(settings.rope_theta),
        "parallel_residual": False,
        "bias": False,
    }
