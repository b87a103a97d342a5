"""Model settings, validated on construction. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.settings import Misfit, Settings
from yxanul.model.zoo import AUTO_PRESET, PRESETS

PADDING_MULTIPLE = 64
"""A vocabulary size that is not a multiple of 16 is padded to a multiple of this."""

NOMINAL_VOCAB_SIZE = 4096
"""Vocabulary size assumed for parameter and FLOP counts while there is no tokenizer."""

_DERIVED = ("num_kv_heads", "head_width", "ffn_width")


def _default_ffn_width(data: dict[str, Any]) -> int:
    """Return 4 widths, or 8/3 (rounded up to 64) for a gated FFN: about as many parameters."""
    if data["ffn"] in ("swiglu", "geglu"):
        return -(-8 * data["width"] // (3 * 64)) * 64
    return 4 * data["width"]


class ModelSettings(Settings):
    """Shape of a decoder-only transformer without biases or dropout."""

    preset: str | None = None
    """Preset name; fills in whatever is not given here. auto: the one with the lowest expected
    loss after the minutes of the stages on this machine."""
    init_from: str | None = None
    """Run folder or `transformers` model folder to start training from: its weights, with their
    shape and tokenizer; null: random weights."""
    width: PositiveInt
    """Width of the residual stream (hidden size)."""
    depth: PositiveInt
    """Number of blocks."""
    num_heads: PositiveInt
    """Number of query heads."""
    num_kv_heads: PositiveInt = Field(default_factory=lambda data: data["num_heads"])
    """Number of key/value heads, each shared by num_heads / num_kv_heads query heads (GQA);
    default num_heads."""
    head_width: PositiveInt = Field(
        default_factory=lambda data: max(1, data["width"] // data["num_heads"])
    )
    """Width of one head; default width / num_heads."""
    ffn: Literal["swiglu", "geglu", "gelu", "relu2"] = "swiglu"
    """Feed-forward type: swiglu and geglu are gated, gelu and relu2 (squared ReLU) are not."""
    ffn_width: PositiveInt = Field(default_factory=_default_ffn_width)
    """Hidden width of the feed-forward; default 8/3 width (gated, rounded up to a multiple of 64)
    or 4 width."""
    norm: Literal["rmsnorm", "zero_centered_rmsnorm", "layernorm"] = "rmsnorm"
    """Norm before attention, feed-forward and head, with a gain and no bias.
    zero_centered_rmsnorm multiplies by 1 + gain, with gain initialised to 0 (Gemma)."""
    post_norm: bool = False
    """Also normalise the outputs of attention and feed-forward before the residual addition
    (Gemma 2 and 3)."""
    norm_eps: PositiveFloat = 1e-5
    """Epsilon added to the mean square inside a norm."""
    positions: Literal["rope", "learned", "rope+learned"] = "rope"
    """Position encoding: rotary (RoPE), learned embeddings, or both."""
    rope_theta: PositiveFloat = 10_000.0
    """RoPE base."""
    rope_theta_local: PositiveFloat | None = None
    """RoPE base of local layers; null: rope_theta."""
    layer_pattern: str = Field(default="G", pattern="^[GL]+$")
    """One letter per layer, repeated over the depth: G global, L local (sliding window), such as
    LLLLLG (Gemma 3)."""
    window: PositiveInt | None = None
    """Sliding window of local layers in tokens, the current one included."""
    max_seq_len: PositiveInt = 2048
    """Maximum sequence length in tokens, in training and generation."""
    qk_norm: bool = False
    """Normalise queries and keys over the head width, before RoPE."""
    query_scale: PositiveFloat | None = None
    """Scale of the attention scores; null: 1 / sqrt(head_width)."""
    embedding_scale: bool = False
    """Multiply embeddings by sqrt(width) (Gemma)."""
    embedding_rank: PositiveInt | None = None
    """Rank of a factorised embedding, (vocabulary x rank) times (rank x width); null: one table."""
    head: Literal["tied", "untied", "folded"] = "tied"
    """Output projection: tied to the embedding, untied (its own matrix), or folded (tied to both
    factors of a factorised embedding)."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the initial weights; divided by sqrt(2 depth) for the output
    projections of attention and feed-forward."""
    head_init_std: PositiveFloat | None = None
    """Standard deviation of the initial weights of an untied head; null: init_std."""
    logit_soft_cap: PositiveFloat | None = None
    """Soft cap on the logits: cap * tanh(logits / cap) (Gemma 2)."""
    z_loss: float = Field(default=0.0, ge=0)
    """Coefficient of the z-loss, log(sum(exp(logits)))^2, in the training loss (PaLM)."""
    document_masking: bool = False
    """Restrict attention to the token's own document and restart positions at its beginning."""
    vocab_size: PositiveInt | None = None
    """Vocabulary size; null: the tokenizer's."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {k: v for k, v in data.items() if not (v is None and k in _DERIVED)}
        name = given.get("preset")
        if not isinstance(name, str):
            return given
        if name != "auto" and name not in PRESETS:
            hint = did_you_mean(name, PRESETS) or f"expected one of auto, {', '.join(PRESETS)}"
            raise Misfit(f"unknown preset '{name}'; {hint}", "preset")
        return {**PRESETS[AUTO_PRESET if name == "auto" else name], **given}

    @model_validator(mode="after")
    def _possible(self) -> ModelSettings:
        wide = self.num_heads * self.head_width
        if "head_width" not in self.model_fields_set and wide != self.width:
            raise Misfit(
                f"width {self.width} is not divisible by num_heads {self.num_heads}; "
                "change one of them or set head_width",
                "width",
                "num_heads",
                "preset",
            )
        if self.num_heads % self.num_kv_heads:
            raise Misfit(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}",
                "num_kv_heads",
                "num_heads",
                "preset",
            )
        if "rope" in self.positions and self.head_width % 2:
            raise Misfit(
                f"head_width {self.head_width} is odd; RoPE rotates pairs of features (default of"
                " head_width: width / num_heads)",
                "head_width",
                "num_heads",
                "width",
                "positions",
            )
        return self

    @model_validator(mode="after")
    def _possible_head_and_layers(self) -> ModelSettings:
        if self.head == "folded" and self.embedding_rank is None:
            raise Misfit(
                "head 'folded' needs embedding_rank; without it use 'tied'",
                "head",
                "embedding_rank",
            )
        if self.head == "tied" and self.embedding_rank is not None:
            raise Misfit(
                "head 'tied' needs a full embedding table; with embedding_rank use 'folded'",
                "head",
                "embedding_rank",
            )
        if self.embedding_rank is not None and self.embedding_rank >= self.width:
            raise Misfit(
                f"embedding_rank {self.embedding_rank} must be less than width {self.width}",
                "embedding_rank",
                "width",
            )
        has_local = "L" in self.layer_pattern[: self.depth]
        if has_local and self.window is None:
            raise Misfit(
                f"layer_pattern '{self.layer_pattern}' has local layers; set window",
                "layer_pattern",
                "window",
            )
        if self.window is not None and not has_local:
            raise Misfit(
                "window is set but layer_pattern has no local layer (L)", "window", "layer_pattern"
            )
        return self

    @property
    def layer_kinds(self) -> str:
        """One letter for each layer, G (global) or L (local)."""
        repeats = -(-self.depth // len(self.layer_pattern))
        return (self.layer_pattern * repeats)[: self.depth]

    def resolved(self, vocab_size: int | None) -> ModelSettings:
        """Return these settings with vocab_size filled in; raise on a mismatch with the tokenizer.

        Without a tokenizer (None) an unset size becomes NOMINAL_VOCAB_SIZE. With init_from, the
        weights' own size stays and init_from is removed, as it is not part of the shape.
        """
        if self.init_from is not None and self.vocab_size is not None:
            return self.model_copy(update={"init_from": None})
        size = vocab_size or self.vocab_size or NOMINAL_VOCAB_SIZE
        if self.vocab_size not in (None, size):
            raise YxanulError(
                "model.vocab_size differs from the tokenizer's",
                got=self.vocab_size,
                expected=size,
                hint="leave it out, or set it to null to override a preset's value",
            )
        return self.model_copy(update={"vocab_size": size})

    @property
    def known_vocab_size(self) -> int:
        """Vocabulary size; raises YxanulError while it is unset."""
        if self.vocab_size is None:
            raise YxanulError(
                "the vocabulary size is not known yet",
                hint="set model.vocab_size or give a tokenizer",
            )
        return self.vocab_size

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: the vocabulary, padded unless it is a multiple of 16."""
        if self.known_vocab_size % 16 == 0:
            return self.known_vocab_size
        return -(-self.known_vocab_size // PADDING_MULTIPLE) * PADDING_MULTIPLE


def free_settings(weights: ModelSettings) -> set[str]:
    """Return the settings that a recipe may change when training starts from these weights."""
    free = {"max_seq_len", "rope_theta", "rope_theta_local", "document_masking", "z_loss"}
    return free - {"max_seq_len"} if "learned" in weights.positions else free


def merge_with_weights(
    given: Mapping[str, Any], weights: ModelSettings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merge a recipe's model settings with those of the weights it starts from.

    Returns the merged settings, and the conflicts: for each setting that is fixed by the weights
    but given another value, the weights' value. A null is never a conflict.
    """
    shape = weights.model_dump(mode="json", exclude={"preset", "init_from"})
    rest, preset = dict(given), given.get("preset")
    known = preset is None or preset == "auto" or (isinstance(preset, str) and preset in PRESETS)
    if known:
        rest["preset"] = None
    implied = PRESETS.get(preset, {}) if known and preset is not None else {}
    free = free_settings(weights)
    asked = {name: value for name, value in implied.items() if name not in given}
    asked |= {name: value for name, value in given.items() if name in shape and value is not None}
    conflicts = {k: shape[k] for k, value in asked.items() if k not in free and value != shape[k]}
    chosen = {name: asked[name] for name in free & asked.keys() & given.keys()}
    return {**rest, **shape, **chosen}, conflicts
