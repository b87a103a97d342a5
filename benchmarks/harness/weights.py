"""One set of random weights for all contenders, in a folder as `transformers` lays it out.

Matrices and tables are drawn from N(0, 0.02), as `LlamaForCausalLM` starts, gains are one (zero
where they are zero-centred). A factorised embedding, which `transformers` does not know, is stored
as `model.embed_tokens.weight` (V x r) and `model.embed_projection.weight` (D x r).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from harness.shapes import Shape
from yxanul.model.config import ModelSettings

STD = 0.02


def write_weights(shape: Shape, folder: Path, seed: int = 0) -> None:
    """Write config.json and model.safetensors."""
    settings = shape.settings
    generator = torch.Generator().manual_seed(seed)
    gain = 0.0 if settings.norm == "zero_centered_rmsnorm" else 1.0
    tensors = {}
    for name, size in tensor_sizes(settings).items():
        drawn = torch.empty(size)
        is_gain = len(size) == 1
        tensors[name] = (
            drawn.fill_(gain) if is_gain else drawn.normal_(0.0, STD, generator=generator)
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = _gemma3_config(settings) if shape.family == "gemma3" else _llama_config(settings)
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def tensor_sizes(settings: ModelSettings) -> dict[str, tuple[int, ...]]:
    """Return the size of every tensor by its name in `transformers`."""
    width, head, vocab = settings.width, settings.head_width, settings.num_tokens
    rank = settings.embedding_rank
    sizes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, rank or width)}
    if rank:
        sizes["model.embed_projection.weight"] = (width, rank)
    for layer in range(settings.depth):
        block = f"model.layers.{layer}"
        sizes |= {
            f"{block}.self_attn.q_proj.weight": (settings.num_heads * head, width),
            f"{block}.self_attn.k_proj.weight": (settings.num_kv_heads * head, width),
            f"{block}.self_attn.v_proj.weight": (settings.num_kv_heads * head, width),
            f"{block}.self_attn.o_proj.weight": (width, settings.num_heads * head),
            f"{block}.mlp.gate_proj.weight": (settings.ffn_width, width),
            f"{block}.mlp.up_proj.weight": (settings.ffn_width, width),
            f"{block}.mlp.down_proj.weight": (width, settings.ffn_width),
        }
        sizes |= {f"{block}.{name}.weight": (width,) for name in _norms(settings)}
        if settings.qk_norm:
            sizes |= {f"{block}.self_attn.{name}_norm.weight": (head,) for name in "qk"}
    sizes["model.norm.weight"] = (width,)
    if settings.head == "untied":
        sizes["lm_head.weight"] = (vocab, width)
    return sizes


def _norms(settings: ModelSettings) -> list[str]:
    around = ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    names = ["input_layernorm", "post_attention_layernorm"]
    return names + around if settings.post_norm else names


def _shared_config(settings: ModelSettings) -> dict[str, Any]:
    return {
        "hidden_size": settings.width,
        "num_hidden_layers": settings.depth,
        "num_attention_heads": settings.num_heads,
        "num_key_value_heads": settings.num_kv_heads,
        "head_dim": settings.head_width,
        "intermediate_size": settings.ffn_width,
        "vocab_size": settings.num_tokens,
        "max_position_embeddings": settings.max_seq_len,
        "rms_norm_eps": settings.norm_eps,
        "tie_word_embeddings": settings.head == "tied",
        "attention_bias": False,
        "initializer_range": STD,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _llama_config(settings: ModelSettings) -> dict[str, Any]:
    return _shared_config(settings) | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": settings.rope_theta},
    }


def _gemma3_config(settings: ModelSettings) -> dict[str, Any]:
    kinds = {"G": "full_attention", "L": "sliding_attention"}
    thetas = {"G": settings.rope_theta, "L": settings.rope_theta_local or settings.rope_theta}
    rope = {kinds[k]: {"rope_type": "default", "rope_theta": thetas[k]} for k in kinds}
    return _shared_config(settings) | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": round((settings.query_scale or 1.0) ** -2),
        "sliding_window": settings.window,
        "layer_types": [kinds[kind] for kind in settings.layer_kinds],
        "rope_parameters": rope,
        "use_bidirectional_attention": False,
    }
