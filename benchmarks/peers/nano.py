"""nanoGPT's plain loop, for a Llama: one file, nothing but PyTorch.

Fused attention (`F.scaled_dot_product_attention`), fused q, k and v, the vocabulary rounded up to a
multiple of 64, all logits at once into `F.cross_entropy`, autocast around it. A factorised
embedding with a folded head is the one addition.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers import Trainee
from peers.folder import autocast, joined_qkv, load_tensors, padded, read_config

VOCAB_MULTIPLE = 64


class Block(nn.Module):
    """Pre-norm attention with grouped queries and rotary positions, and a SwiGLU."""

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        width, ffn_width = config["hidden_size"], config["intermediate_size"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.heads, self.head_width = (heads, kv_heads, kv_heads), config["head_dim"]
        self.norm_1 = nn.RMSNorm(width, config["rms_norm_eps"])
        self.qkv = nn.Linear(width, sum(self.heads) * self.head_width, bias=False)
        self.out = nn.Linear(heads * self.head_width, width, bias=False)
        self.norm_2 = nn.RMSNorm(width, config["rms_norm_eps"])
        self.gate = nn.Linear(width, ffn_width, bias=False)
        self.up = nn.Linear(width, ffn_width, bias=False)
        self.down = nn.Linear(ffn_width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the residual stream."""
        batch, time, _ = x.shape
        parts = self.qkv(self.norm_1(x)).view(batch, time, sum(self.heads), self.head_width)
        q, k, v = parts.transpose(1, 2).split(self.heads, dim=1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, -1))
        y = self.norm_2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class GPT(nn.Module):
    """The whole model; its forward pass returns the loss."""

    def __init__(self, config: dict[str, Any], rank: int | None, seq_len: int):
        super().__init__()
        width = config["hidden_size"]
        rows = -(-config["vocab_size"] // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
        self.embedding = nn.Embedding(rows, rank or width)
        self.projection = nn.Linear(rank, width, bias=False) if rank else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(width, config["rms_norm_eps"])
        self.head = nn.Linear(rows, rank or width, bias=False)
        self.head.weight = self.embedding.weight
        cos, sin = rotary(seq_len, config["head_dim"], config["rope_theta"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        x = self.embedding(ids)
        if self.projection is not None:
            x = self.projection(x)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        x = self.norm(x)
        if self.projection is not None:
            x = F.linear(x, self.projection.weight.T)
        logits = self.head(x)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def rotary(seq_len: int, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, time x head width, for the rotate-half form."""
    speeds = theta ** -(torch.arange(0, head_width, 2).float() / head_width)
    angles = torch.outer(torch.arange(seq_len).float(), speeds).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of features by its token's angle."""
    left, right = x.chunk(2, dim=-1)
    turned = torch.cat((-right, left), dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


def step(job: dict[str, Any], compiled: bool = False) -> Trainee:
    """Return the plain model with the common weights."""
    given = load_tensors(job["weights"])
    is_factorised = "model.embed_projection.weight" in given
    rank = given["model.embed_tokens.weight"].shape[1] if is_factorised else None
    model = GPT(read_config(job["weights"]), rank, job["seq_len"])
    model.load_state_dict(_tensors(model, given))
    model.to(job["device"])
    forward = torch.compile(model) if compiled else model

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        with autocast(job):
            return forward(ids, targets)

    return Trainee(model, loss)


def _tensors(model: GPT, given: dict[str, Tensor]) -> dict[str, Tensor]:
    table = padded(given["model.embed_tokens.weight"], model.embedding.num_embeddings)
    found = {
        "embedding.weight": table,
        "head.weight": table,
        "norm.weight": given["model.norm.weight"],
    }
    if model.projection is not None:
        found["projection.weight"] = given["model.embed_projection.weight"]
    for n in range(len(model.blocks)):
        block, layer = f"blocks.{n}", f"model.layers.{n}"
        found[f"{block}.qkv.weight"] = joined_qkv(given, n)
        found[f"{block}.out.weight"] = given[f"{layer}.self_attn.o_proj.weight"]
        for name in ("gate", "up", "down"):
            found[f"{block}.{name}.weight"] = given[f"{layer}.mlp.{name}_proj.weight"]
        found[f"{block}.norm_1.weight"] = given[f"{layer}.input_layernorm.weight"]
        found[f"{block}.norm_2.weight"] = given[f"{layer}.post_attention_layernorm.weight"]
    return found
