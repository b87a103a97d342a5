"""What a model costs, by arithmetic alone: parameters, FLOPs, bytes. Imports no torch.

Padding of the vocabulary is never counted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from yxanul.model.config import ModelSettings

BYTES_OF_DTYPE = {"fp32": 4, "bf16": 2}
"""The dtypes that weights are kept in."""


def parameter_table(settings: ModelSettings) -> dict[str, int]:
    """Return the parameters by part; their sum is `count_parameters`."""
    layers = settings.depth
    parts = {
        "embedding": _embedding(settings),
        "learned positions": _learned_positions(settings),
        f"attention x {layers}": layers * _attention(settings),
        f"feed-forward x {layers}": layers * _ffn(settings),
        "norms": layers * _norms(settings) + settings.width,
        "head": settings.num_tokens * settings.width if settings.head == "untied" else 0,
    }
    return {name: number for name, number in parts.items() if number}


def count_parameters(settings: ModelSettings) -> int:
    """Return the exact number of parameters, each shared one counted once."""
    return sum(parameter_table(settings).values())


def layer_parameters(settings: ModelSettings) -> int:
    """Return the parameters of one layer."""
    return _attention(settings) + _ffn(settings) + _norms(settings)


@dataclass(frozen=True, slots=True)
class TokenFlops:
    """FLOPs to train on one token, forward and backward, by what they are spent on.

    Every weight of a matrix product costs 6: two forward, four backward. Looking up a row of an
    embedding costs nothing.
    """

    blocks: int
    """The matrices of all layers, and the projection of a factorised embedding."""
    head: int
    """The output projection; both factors if it is folded."""
    attention_full: int
    """Scores and sums of values over the whole square: 12 L H K T."""
    attention_causal: int
    """What a causal kernel with windows has to compute: half of it, 6 L H K T, without windows."""

    @property
    def total(self) -> int:
        """The usual convention (nanoGPT, PaLM): 6 N + 12 L H K T."""
        return self.blocks + self.head + self.attention_full

    @property
    def total_causal(self) -> int:
        """What has to be computed: 6 N + 6 L H K T, less where layers have a window."""
        return self.blocks + self.head + self.attention_causal

    def to_dict(self) -> dict[str, int]:
        """Return the parts and both totals as plain data."""
        return asdict(self) | {"total": self.total, "total_causal": self.total_causal}


def flops_per_token(settings: ModelSettings, seq_len: int) -> TokenFlops:
    """Return the training FLOPs of one token in a sequence of `seq_len`, under both conventions."""
    rank, width = settings.embedding_rank, settings.width
    projection = rank * width if rank else 0
    head = settings.num_tokens * (rank if rank and settings.head == "folded" else width)
    if settings.head == "folded":
        head += projection
    matrices = settings.depth * (_attention_matrices(settings) + _ffn(settings)) + projection
    wide = settings.num_heads * settings.head_width
    full = 12 * wide * settings.depth * seq_len
    causal = sum(_causal_flops(wide, seq_len, window) for window in _windows(settings, seq_len))
    return TokenFlops(6 * matrices, 6 * head, full, round(causal))


def weight_bytes(settings: ModelSettings) -> dict[str, int]:
    """Return the bytes of all weights, without padding, by dtype."""
    return {name: size * count_parameters(settings) for name, size in BYTES_OF_DTYPE.items()}


def kv_bytes_per_token(settings: ModelSettings, bytes_per_value: int = 2) -> int:
    """Return the bytes that one token adds to a cache that keeps all of them; bf16 by default."""
    values = 2 * settings.depth * settings.num_kv_heads * settings.head_width
    return values * bytes_per_value


def kv_cache_bytes(settings: ModelSettings, length: int, bytes_per_value: int = 2) -> int:
    """Return the bytes of a cache for `length` tokens: local layers keep their window only."""
    values = 2 * settings.num_kv_heads * settings.head_width
    return values * bytes_per_value * sum(_windows(settings, length))


def _windows(settings: ModelSettings, length: int) -> list[int]:
    """Return how many of `length` tokens each layer sees at most."""
    local = min(settings.window or length, length)
    return [local if kind == "L" else length for kind in settings.layer_kinds]


def _causal_flops(wide: int, seq_len: int, window: int) -> float:
    """Return a layer's training FLOPs of attention a token; the mean number of keys seen is
    window - window^2 / (2 T), or T / 2 if there is no narrower window.
    """
    return 12 * wide * (window - window**2 / (2 * seq_len))


def _embedding(settings: ModelSettings) -> int:
    rank = settings.embedding_rank
    if rank is None:
        return settings.num_tokens * settings.width
    return settings.num_tokens * rank + rank * settings.width


def _learned_positions(settings: ModelSettings) -> int:
    return settings.max_seq_len * settings.width if "learned" in settings.positions else 0


def _attention_matrices(settings: ModelSettings) -> int:
    heads = 2 * settings.num_heads + 2 * settings.num_kv_heads
    return settings.width * heads * settings.head_width


def _attention(settings: ModelSettings) -> int:
    return _attention_matrices(settings) + (2 * settings.head_width if settings.qk_norm else 0)


def _ffn(settings: ModelSettings) -> int:
    num_matrices = 3 if settings.ffn in ("swiglu", "geglu") else 2
    return num_matrices * settings.width * settings.ffn_width


def _norms(settings: ModelSettings) -> int:
    return (4 if settings.post_norm else 2) * settings.width
