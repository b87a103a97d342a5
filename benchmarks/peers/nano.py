"""A plain loop as nanoGPT's train.py has it, for a Llama: one file, nothing but PyTorch.

Fused attention (`F.scaled_dot_product_attention`), fused q, k and v, the vocabulary rounded up to a
multiple of 64, all logits at once into `F.cross_entropy`, autocast around it. A factorised
embedding with a folded head is the one addition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers import StepJob, Trainee
from peers.tensors import joined_qkv, load_tensors, padded
from yxanul.model.config import ModelSettings

VOCAB_MULTIPLE = 64


class Attention(nn.Module):
    """Causal self-attention with grouped queries and rotary positions."""

    def __init__(self, s: ModelSettings):
        super().__init__()
        self.heads = (s.num_heads, s.num_kv_heads, s.num_kv_heads)
        self.head_width = s.head_width
        self.qkv = nn.Linear(s.width, sum(self.heads) * s.head_width, bias=False)
        self.out = nn.Linear(s.num_heads * s.head_width, s.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return what attention adds."""
        batch, time, _ = x.shape
        parts = self.qkv(x).view(batch, time, sum(self.heads), self.head_width).transpose(1, 2)
        q, k, v = parts.split(self.heads, dim=1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(batch, time, -1))


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, s: ModelSettings):
        super().__init__()
        self.gate = nn.Linear(s.width, s.ffn_width, bias=False)
        self.up = nn.Linear(s.width, s.ffn_width, bias=False)
        self.down = nn.Linear(s.ffn_width, s.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the feed-forward adds."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, s: ModelSettings):
        super().__init__()
        self.norm_1 = nn.RMSNorm(s.width, s.norm_eps)
        self.attention = Attention(s)
        self.norm_2 = nn.RMSNorm(s.width, s.norm_eps)
        self.mlp = MLP(s)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return the residual stream."""
        x = x + self.attention(self.norm_1(x), cos, sin)
        return x + self.mlp(self.norm_2(x))


class GPT(nn.Module):
    """The whole model; its forward pass returns the loss."""

    def __init__(self, s: ModelSettings, seq_len: int):
        super().__init__()
        rows = -(-s.num_tokens // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
        self.embedding = nn.Embedding(rows, s.embedding_rank or s.width)
        self.projection = None
        if s.embedding_rank:
            self.projection = nn.Linear(s.embedding_rank, s.width, bias=False)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.depth))
        self.norm = nn.RMSNorm(s.width, s.norm_eps)
        self.head = nn.Linear(rows, s.embedding_rank or s.width, bias=False)
        self.head.weight = self.embedding.weight
        cos, sin = rotary(seq_len, s.head_width, s.rope_theta)
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


def trainee(job: StepJob, compiled: bool = False) -> Trainee:
    """Return the plain model with the common weights."""
    model = GPT(job.shape.settings, job.seq_len)
    model.load_state_dict(_tensors(model, job))
    model.to(job.device)
    forward = torch.compile(model) if compiled else model
    autocast = torch.autocast(job.device.type, torch.bfloat16, enabled=job.precision == "bf16")

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        with autocast:
            return forward(ids, targets)

    return Trainee(model, loss)


def _tensors(model: GPT, job: StepJob) -> dict[str, Tensor]:
    given = load_tensors(job.weights)
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
        found[f"{block}.attention.qkv.weight"] = joined_qkv(given, n)
        found[f"{block}.attention.out.weight"] = given[f"{layer}.self_attn.o_proj.weight"]
        for name in ("gate", "up", "down"):
            found[f"{block}.mlp.{name}.weight"] = given[f"{layer}.mlp.{name}_proj.weight"]
        found[f"{block}.norm_1.weight"] = given[f"{layer}.input_layernorm.weight"]
        found[f"{block}.norm_2.weight"] = given[f"{layer}.post_attention_layernorm.weight"]
    return found
