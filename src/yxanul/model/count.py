"""Parameter counts, training FLOPs and memory of a model. Imports no torch.

Vocabulary padding is never counted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from yxanul.model.config import ModelSettings

BYTES_OF_DTYPE = {"fp32": 4, "bf16": 2}
"""Bytes per value of the dtypes that weights are stored in."""


def parameter_table(settings: ModelSettings) -> dict[str, int]:
    """Return the parameter count by component; the sum is `count_parameters`."""
    layers, width, rank = settings.depth, settings.width, settings.embedding_rank
    attention, ffn = _matrices(settings)
    gains = 2 * settings.head_width if settings.qk_norm else 0
    table = {
        "embedding": settings.known_vocab_size * (rank or width) + (rank * width if rank else 0),
        "learned positions": settings.max_seq_len * width if "learned" in settings.positions else 0,
        f"attention x {layers}": layers * (attention + gains),
        f"feed-forward x {layers}": layers * ffn,
        "norms": (layers * (4 if settings.post_norm else 2) + 1) * width,
        "head": settings.known_vocab_size * width if settings.head == "untied" else 0,
    }
    return {name: number for name, number in table.items() if number}


def count_parameters(settings: ModelSettings) -> int:
    """Return the exact parameter count; shared parameters count once."""
    return sum(parameter_table(settings).values())


def block_parameters(settings: ModelSettings) -> int:
    """Return the parameter count of all layers: without embeddings, head and final norm."""
    table = parameter_table(settings)
    outside = (table.get(name, 0) for name in ("embedding", "learned positions", "head"))
    return sum(table.values()) - sum(outside) - settings.width


@dataclass(frozen=True, slots=True)
class TokenFlops:
    """Training FLOPs per token (forward and backward), by component.

    Every weight of a matrix product costs 6: two forward, four backward. Embedding lookups are
    free.
    """

    blocks: int
    """Matrices of all layers, and the projection of a factorised embedding."""
    head: int
    """Output projection; both factors if it is folded."""
    attention_full: int
    """Attention over the full T x T square: 12 L H K T."""
    attention_causal: int
    """Attention as a causal kernel with windows computes it: 6 L H K T without windows."""

    @property
    def total(self) -> int:
        """The usual convention (nanoGPT, PaLM): 6 N + 12 L H K T."""
        return self.blocks + self.head + self.attention_full

    @property
    def total_causal(self) -> int:
        """FLOPs actually needed: 6 N + 6 L H K T, less where layers have a window."""
        return self.blocks + self.head + self.attention_causal

    def to_dict(self) -> dict[str, int]:
        """Return the components and both totals."""
        return asdict(self) | {"total": self.total, "total_causal": self.total_causal}


def flops_per_token(settings: ModelSettings, seq_len: int) -> TokenFlops:
    """Return the training FLOPs per token at sequence length `seq_len`."""
    rank, width = settings.embedding_rank, settings.width
    projection = rank * width if rank else 0
    head = settings.known_vocab_size * (rank if rank and settings.head == "folded" else width)
    if settings.head == "folded":
        head += projection
    matrices = settings.depth * sum(_matrices(settings)) + projection
    wide = settings.num_heads * settings.head_width
    full = 12 * wide * settings.depth * seq_len
    # A token sees window - window^2 / (2 T) keys on average, which is T / 2 at window = T.
    visible = sum(window - window**2 / (2 * seq_len) for window in _windows(settings, seq_len))
    return TokenFlops(6 * matrices, 6 * head, full, round(12 * wide * visible))


def weight_bytes(settings: ModelSettings) -> dict[str, int]:
    """Return the size of all weights in bytes, by dtype."""
    return {name: size * count_parameters(settings) for name, size in BYTES_OF_DTYPE.items()}


def kv_bytes_per_token(settings: ModelSettings, bytes_per_value: int = 2) -> int:
    """Return the KV cache bytes per token if no layer has a window; bf16 by default."""
    values = 2 * settings.depth * settings.num_kv_heads * settings.head_width
    return values * bytes_per_value


def kv_cache_bytes(settings: ModelSettings, length: int, bytes_per_value: int = 2) -> int:
    """Return the KV cache bytes for `length` tokens; local layers keep only their window."""
    values = 2 * settings.num_kv_heads * settings.head_width
    return values * bytes_per_value * sum(_windows(settings, length))


def _windows(settings: ModelSettings, length: int) -> list[int]:
    """Return for each layer how many of `length` tokens it attends to at most."""
    local = min(settings.window or length, length)
    return [local if kind == "L" else length for kind in settings.layer_kinds]


def _matrices(settings: ModelSettings) -> tuple[int, int]:
    """Return the weights of the matrices of a layer's attention and feed-forward."""
    heads = 2 * settings.num_heads + 2 * settings.num_kv_heads
    num_matrices = 3 if settings.ffn in ("swiglu", "geglu") else 2
    ffn = num_matrices * settings.width * settings.ffn_width
    return settings.width * heads * settings.head_width, ffn
