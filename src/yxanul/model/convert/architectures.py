"""Table of the `transformers` architectures that our model can express."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.settings import checked
from yxanul.model.config import ModelSettings
from yxanul.model.convert import key_groups
from yxanul.model.convert.key_groups import KeyGroup
from yxanul.model.convert.keys import Keys, in_a_word


@dataclass(frozen=True)
class Architecture:
    """Config keys and weight names of one `transformers` architecture."""

    name: str
    """Model class, as in `architectures` of a config.json."""
    model_type: str
    """`model_type` of a config.json."""
    defaults: Mapping[str, Any]
    """Defaults of its configuration class in transformers 5 for missing keys."""
    key_groups: tuple[KeyGroup, ...]
    """Groups of config.json keys that it uses."""
    norms: Mapping[str, str]
    """Names of a layer's norms, ours to theirs."""
    heads_divide_width: bool = False
    """Whether its configuration class requires a width divisible by the number of heads."""

    def read(self, config: Mapping[str, Any], file: Path) -> ModelSettings:
        """Return the settings for a config.json; raise YxanulError if we cannot express it."""
        keys = Keys(config, self.defaults, file)
        fields: dict[str, Any] = {}
        for group in self.key_groups:
            fields |= group.read(keys)
        try:
            return checked(ModelSettings, **fields)
        except YxanulError as error:  # keys that are valid alone but not together
            what = f"{file}: {error.what}"
            raise YxanulError(what, got=error.got, expected=error.expected) from None

    def write(self, settings: ModelSettings) -> dict[str, Any]:
        """Return the config.json for settings, without checking that it expresses all of them."""
        keys: dict[str, Any] = {"architectures": [self.name], "model_type": self.model_type}
        for group in self.key_groups:
            keys |= group.write(settings)
        return keys


_NORMS = {
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_QK_NORMS = {
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
}

LLAMA = Architecture(
    name="LlamaForCausalLM",
    model_type="llama",
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    key_groups=(
        key_groups.SHAPE,
        key_groups.activation("hidden_act"),
        key_groups.ONE_ROPE,
        key_groups.fixed(norm="rmsnorm"),
    ),
    norms=_NORMS,
    heads_divide_width=True,
)

QWEN3 = Architecture(
    name="Qwen3ForCausalLM",
    model_type="qwen3",
    defaults={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
    key_groups=(
        key_groups.SHAPE,
        key_groups.activation("hidden_act"),
        key_groups.ONE_ROPE,
        key_groups.QWEN_LAYERS,
        key_groups.fixed(norm="rmsnorm", qk_norm=True),
    ),
    norms={**_NORMS, **_QK_NORMS},
)

GEMMA3 = Architecture(
    name="Gemma3ForCausalLM",
    model_type="gemma3_text",
    defaults={
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    },
    key_groups=(
        key_groups.SHAPE,
        key_groups.activation("hidden_activation"),
        key_groups.TWO_ROPES,
        key_groups.GEMMA_LAYERS,
        key_groups.QUERY_SCALE,
        key_groups.SOFT_CAP,
        key_groups.fixed(
            norm="zero_centered_rmsnorm", post_norm=True, qk_norm=True, embedding_scale=True
        ),
    ),
    norms={
        "attention_norm": "input_layernorm",
        "attention_post_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "ffn_post_norm": "post_feedforward_layernorm",
        **_QK_NORMS,
    },
    heads_divide_width=True,
)

ARCHITECTURES = {row.name: row for row in (LLAMA, QWEN3, GEMMA3)}
"""By model class."""


def architecture_of(config: Mapping[str, Any], file: Path) -> Architecture:
    """Return the row for a config.json by its class or, without one, its model_type."""
    names, model_type = config.get("architectures"), config.get("model_type")
    if not isinstance(names, list | None):
        got = in_a_word(names)
        raise YxanulError(f"{file}: invalid architectures", got=got, expected="a list")
    names = names or []
    for row in ARCHITECTURES.values():
        if row.name in names or (not names and row.model_type == model_type):
            return row
    raise YxanulError(
        f"{file}: unsupported architecture",
        got=in_a_word(", ".join(map(in_a_word, names)) or model_type),
        expected=", ".join(ARCHITECTURES),
    )
