"""Settings of the model: every number that shapes it, checked at birth. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from yxanul.base.errors import YxanulError, near_miss
from yxanul.base.settings import Misfit, Settings
from yxanul.model.zoo import PRESETS

PADDING_MULTIPLE = 64
"""A vocabulary that is no multiple of 16 is stored with rows up to a multiple of this."""

NOMINAL_VOCAB_SIZE = 4096
"""The vocabulary for which figures are quoted while there is no tokenizer."""

_DERIVED = ("num_kv_heads", "head_width", "ffn_width")


def _default_ffn_width(data: dict[str, Any]) -> int:
    """Give a gated FFN as many parameters as a plain one of four times the width."""
    if data["ffn"] in ("swiglu", "geglu"):
        return -(-8 * data["width"] // (3 * 64)) * 64
    return 4 * data["width"]


class ModelSettings(Settings):
    """The shape of a decoder-only transformer. There are no biases and there is no dropout."""

    preset: str | None = None
    """Name in the table of presets; it fills in whatever is not given here. auto: micro or nano,
    as this machine can train in the minutes of the stages."""
    init_from: str | None = None
    """A run folder, or a folder of `transformers`: training starts from its weights, with their
    shape and tokenizer; null: random weights."""
    width: PositiveInt
    """Features of the residual stream."""
    depth: PositiveInt
    """Number of blocks."""
    num_heads: PositiveInt
    """Query heads."""
    num_kv_heads: PositiveInt = Field(default_factory=lambda data: data["num_heads"])
    """Key and value heads, each shared by num_heads / num_kv_heads query heads; default all."""
    head_width: PositiveInt = Field(
        default_factory=lambda data: max(1, data["width"] // data["num_heads"])
    )
    """Features of one head; default width / num_heads."""
    ffn: Literal["swiglu", "geglu", "gelu", "relu2"] = "swiglu"
    """Feed-forward kind: two gated, two plain (relu2 is the squared relu)."""
    ffn_width: PositiveInt = Field(default_factory=_default_ffn_width)
    """Features inside the feed-forward; default 8/3 (gated, rounded up to 64) or 4 widths."""
    norm: Literal["rmsnorm", "zero_centered_rmsnorm", "layernorm"] = "rmsnorm"
    """Norm before attention, before the feed-forward and before the head; a gain, no bias.
    The zero-centred kind multiplies by 1 + gain, which starts at 0 (Gemma)."""
    post_norm: bool = False
    """Also normalise what attention and feed-forward give, before it is added (Gemma 2 and 3)."""
    norm_eps: PositiveFloat = 1e-5
    """Added to the mean square inside a norm."""
    positions: Literal["rope", "learned", "rope+learned"] = "rope"
    """How the model knows where a token stands."""
    rope_theta: PositiveFloat = 10_000.0
    """Base of the rotary wavelengths."""
    rope_theta_local: PositiveFloat | None = None
    """Base of the rotary wavelengths in local layers; null: that of the others."""
    layer_pattern: str = Field(default="G", pattern="^[GL]+$")
    """One letter a layer, repeated over the depth: G global, L local, as in LLLLLG (Gemma 3)."""
    window: PositiveInt | None = None
    """Tokens that a local layer sees, the current one included."""
    max_seq_len: PositiveInt = 2048
    """Longest sequence in tokens, in training and in generation."""
    qk_norm: bool = False
    """Normalise queries and keys over the head width, before the rotation."""
    query_scale: PositiveFloat | None = None
    """Multiplies the scores of attention; null: 1 / sqrt(head_width)."""
    embedding_scale: bool = False
    """Multiply embeddings by sqrt(width) (Gemma)."""
    embedding_rank: PositiveInt | None = None
    """Factorise the embedding into (vocabulary x rank) times (rank x width); null: one table."""
    head: Literal["tied", "untied", "folded"] = "tied"
    """Output: the embedding again, a matrix of its own, or both factors again (folded)."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the initial weights; output projections get / sqrt(2 depth)."""
    head_init_std: PositiveFloat | None = None
    """Standard deviation of an untied head's initial weights; null: init_std."""
    logit_soft_cap: PositiveFloat | None = None
    """Bend scores into this range: cap * tanh(scores / cap) (Gemma 2)."""
    z_loss: float = Field(default=0.0, ge=0)
    """Adds this times log(sum(exp(scores)))^2 to the loss that is trained on (PaLM)."""
    document_masking: bool = False
    """Tokens see only their own document; positions restart at its beginning."""
    vocab_size: PositiveInt | None = None
    """Number of tokens; null: the tokenizer's."""

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
            hint = near_miss(name, PRESETS) or f"there are auto, {', '.join(PRESETS)}"
            raise Misfit(f"unknown preset '{name}'; {hint}", "preset")
        return {**PRESETS["micro" if name == "auto" else name], **given}

    @model_validator(mode="after")
    def _possible(self) -> ModelSettings:
        wide = self.num_heads * self.head_width
        if "head_width" not in self.model_fields_set and wide != self.width:
            raise Misfit(
                f"width {self.width} does not divide into num_heads {self.num_heads}; "
                "change one of them or give head_width",
                "width",
                "num_heads",
                "preset",
            )
        if self.num_heads % self.num_kv_heads:
            raise Misfit(
                f"num_heads {self.num_heads} is no multiple of num_kv_heads {self.num_kv_heads}",
                "num_kv_heads",
                "num_heads",
                "preset",
            )
        if "rope" in self.positions and self.head_width % 2:
            raise Misfit(
                f"head_width {self.head_width} is odd; RoPE turns pairs of features",
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
                "head 'folded' needs an embedding_rank; without one use 'tied'",
                "head",
                "embedding_rank",
            )
        if self.head == "tied" and self.embedding_rank is not None:
            raise Misfit(
                "head 'tied' has no full table when embedding_rank is set; use 'folded'",
                "head",
                "embedding_rank",
            )
        if self.embedding_rank is not None and self.embedding_rank >= self.width:
            raise Misfit(
                f"embedding_rank {self.embedding_rank} saves nothing at width {self.width}",
                "embedding_rank",
                "width",
            )
        has_local = "L" in self.layer_pattern[: self.depth]
        if has_local and self.window is None:
            raise Misfit(
                f"layer_pattern '{self.layer_pattern}' has local layers: give window",
                "layer_pattern",
                "window",
            )
        if self.window is not None and not has_local:
            raise Misfit(
                "window says what local layers see; layer_pattern has no L",
                "window",
                "layer_pattern",
            )
        return self

    @property
    def layer_kinds(self) -> str:
        """One letter for each layer, G (global) or L (local)."""
        repeats = -(-self.depth // len(self.layer_pattern))
        return (self.layer_pattern * repeats)[: self.depth]

    def resolved(self, vocab_size: int | None) -> ModelSettings:
        """Return these settings with the tokenizer's vocabulary; refuse another size.

        Without a tokenizer (None) a size that the settings leave open is the nominal one. Weights
        that exist have a size of their own; where they came from is not part of the shape.
        """
        if self.init_from is not None and self.vocab_size is not None:
            return self.model_copy(update={"init_from": None})
        size = vocab_size or self.vocab_size or NOMINAL_VOCAB_SIZE
        if self.vocab_size not in (None, size):
            raise YxanulError(
                "model.vocab_size differs from the tokenizer's",
                got=self.vocab_size,
                expected=size,
                hint="leave it out, or set it to null over a preset that gives one",
            )
        return self.model_copy(update={"vocab_size": size})

    @property
    def num_tokens(self) -> int:
        """The size of the vocabulary; an error while it is still the tokenizer's to say."""
        if self.vocab_size is None:
            raise YxanulError(
                "the size of the vocabulary is not known yet",
                hint="give model.vocab_size, or a tokenizer",
            )
        return self.vocab_size

    @property
    def num_stored_tokens(self) -> int:
        """Rows of the tables: the vocabulary, padded unless it is a multiple of 16."""
        if self.num_tokens % 16 == 0:
            return self.num_tokens
        return -(-self.num_tokens // PADDING_MULTIPLE) * PADDING_MULTIPLE


def free_beside(weights: ModelSettings) -> set[str]:
    """Return the settings that a recipe may change in a model that starts from weights."""
    free = {"max_seq_len", "rope_theta", "rope_theta_local", "document_masking", "z_loss"}
    return free - {"max_seq_len"} if "learned" in weights.positions else free


def beside_weights(
    given: Mapping[str, Any], weights: ModelSettings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a model that starts from weights, and their value of every setting
    that is given otherwise though it makes the weights what they are. A null gives nothing.
    """
    shape = weights.model_dump(mode="json", exclude={"preset", "init_from"})
    rest, preset = dict(given), given.get("preset")
    known = preset is None or preset == "auto" or (isinstance(preset, str) and preset in PRESETS)
    if known:
        rest["preset"] = None
    implied = PRESETS.get(preset, {}) if known and preset is not None else {}
    free = free_beside(weights)
    said = {name: value for name, value in implied.items() if name not in given}
    said |= {name: value for name, value in given.items() if name in shape and value is not None}
    against = {k: shape[k] for k, value in said.items() if k not in free and value != shape[k]}
    chosen = {name: said[name] for name in free & said.keys() & given.keys()}
    return {**rest, **shape, **chosen}, against
