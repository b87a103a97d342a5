"""The `transformers` architectures that our model can express: one class each, whose fields are the
keys of its config.json, checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yxanul.base.errors import YxanulError
from yxanul.base.settings import checked
from yxanul.model.config import ModelSettings

PositiveInt = Annotated[int, Field(ge=1, le=2**31 - 1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OnlyOne = Annotated[float, Field(ge=1, le=1)]
LayerType = Literal["full_attention", "sliding_attention"]

ACTIVATIONS = {"silu": "swiglu", "gelu_pytorch_tanh": "geglu"}
"""Their activation name to our gated feed-forward."""
_UNSCALED = "default, as scaled RoPE is not supported"
_EXPECTED = {
    "rope_type": _UNSCALED,
    "type": _UNSCALED,
    "partial_rotary_factor": "1",
    "extra_forbidden": "full_attention and sliding_attention",
    "model_type": "an object",
    "none_required": "null",
}
"""What is expected, by key or by pydantic's type of error, where its message does not say it."""
_LETTERS = {"full_attention": "G", "sliding_attention": "L"}
_INIT_STD = 0.02
_MAX_CHARS = 80


class ConfigObject(BaseModel):
    """An object of a config.json; keys that do not matter here are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, protected_namespaces=())


class Rope(ConfigObject):
    """RoPE of some layers; scaled or partial RoPE is not supported."""

    rope_type: Literal["default"] = "default"
    type: Literal["default"] | None = None
    partial_rotary_factor: OnlyOne | None = None
    rope_theta: PositiveFloat | None = None


class LayerRopes(ConfigObject):
    """RoPE by type of layer."""

    model_config = ConfigDict(extra="forbid")
    full_attention: Rope | None = None
    sliding_attention: Rope | None = None


class Architecture(ConfigObject):
    """A config.json. Defaults are those of transformers 5; a key may be null only where that has a
    meaning there, and values that the types of the fields reject cannot be expressed."""

    name: ClassVar[str]
    """Model class, as in `architectures` of a config.json."""
    model_type: ClassVar[str]
    norms: ClassVar[Mapping[str, str]]
    """Names of a layer's norms, ours to theirs."""
    fixed: ClassVar[Mapping[str, Any]]
    """Settings that are the same in every model."""
    heads_divide_width: ClassVar[bool] = False
    """Whether its configuration class requires a width divisible by the number of heads."""

    vocab_size: PositiveInt
    hidden_size: PositiveInt = 4096
    intermediate_size: PositiveInt
    num_hidden_layers: Annotated[int, Field(ge=1, le=10_000)] = 32
    num_attention_heads: PositiveInt = 32
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    activation: Literal["silu", "gelu_pytorch_tanh"] = Field("silu", alias="hidden_act")
    max_position_embeddings: PositiveInt
    rms_norm_eps: PositiveFloat = 1e-6
    initializer_range: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    tie_word_embeddings: bool | None = False
    rope_theta: PositiveFloat = 10_000.0
    rope_scaling: Rope | None = None
    partial_rotary_factor: OnlyOne | None = None
    attention_bias: Literal[False] | None = None
    mlp_bias: Literal[False] | None = None
    attn_logit_softcapping: None = None
    use_bidirectional_attention: Literal[False] | None = None
    quantization_config: None = None

    @classmethod
    def read(cls, config: Mapping[str, Any], file: Path) -> ModelSettings:
        """Return the settings for a config.json; raise YxanulError if we cannot express it."""
        unset = ("rope_theta", "rope_local_base_freq")  # null in some files, beside rope_parameters
        given = {key: v for key, v in config.items() if v is not None or key not in unset}
        try:
            return checked(ModelSettings, **cls.model_validate(given).fields())
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"].removeprefix("Input should be ").replace("False", "false")
            expected = _EXPECTED.get(str(first["loc"][-1])) or _EXPECTED.get(first["type"], said)
            misfit = _unsupported(".".join(map(str, first["loc"])), first["input"], expected)
        except YxanulError as error:  # keys that are valid alone but not together
            misfit = error
        raise YxanulError(f"{file}: {misfit.what}", got=misfit.got, expected=misfit.expected)

    def fields(self) -> dict[str, Any]:
        """Return the fields of ModelSettings."""
        width, num_heads = self.hidden_size, self.num_attention_heads
        num_kv_heads = self.num_key_value_heads or num_heads
        head_width = self.head_dim or width // num_heads
        if self.head_dim is None and width % num_heads:
            raise _unsupported(
                "num_attention_heads", num_heads, f"a divisor of hidden_size {width}"
            )
        if num_heads % num_kv_heads:
            expected = f"a divisor of num_attention_heads {num_heads}"
            raise _unsupported("num_key_value_heads", num_kv_heads, expected)
        if head_width % 2:
            expected = "an even number, as RoPE rotates pairs of features"
            raise _unsupported("head_dim", head_width, expected)
        return {
            "width": width,
            "depth": self.num_hidden_layers,
            "num_heads": num_heads,
            "num_kv_heads": num_kv_heads,
            "head_width": head_width,
            "ffn": ACTIVATIONS[self.activation],
            "ffn_width": self.intermediate_size,
            "norm_eps": self.rms_norm_eps,
            "max_seq_len": self.max_position_embeddings,
            "vocab_size": self.vocab_size,
            "init_std": self.initializer_range or _INIT_STD,  # nothing can be drawn with 0
            "head": "tied" if self.tie_word_embeddings else "untied",
            **self.fixed,
        }

    @classmethod
    def write(cls, settings: ModelSettings) -> dict[str, Any]:
        """Return the config.json for settings, without checking that it expresses all of them."""
        activations = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
        theta = settings.rope_theta
        keys: dict[str, Any] = {
            "architectures": [cls.name],
            "model_type": cls.model_type,
            "hidden_size": settings.width,
            "num_hidden_layers": settings.depth,
            "num_attention_heads": settings.num_heads,
            "num_key_value_heads": settings.num_kv_heads,
            "head_dim": settings.head_width,
            "intermediate_size": settings.ffn_width,
            "rms_norm_eps": settings.norm_eps,
            "max_position_embeddings": settings.max_seq_len,
            "vocab_size": settings.known_vocab_size,
            "initializer_range": settings.init_std,
            "tie_word_embeddings": settings.head == "tied",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "rope_parameters": _rope(theta),
            "rope_theta": theta,  # for readers older than transformers 5
        }
        if settings.ffn in activations:
            keys[str(cls.model_fields["activation"].alias)] = activations[settings.ffn]
        return keys


class OneRope(Architecture):
    """An architecture with the same RoPE in all layers."""

    rope_parameters: Rope | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of ModelSettings."""
        ropes = (self.rope_scaling, self.rope_parameters)
        thetas = [rope.rope_theta for rope in ropes if rope and rope.rope_theta]
        return super().fields() | {"rope_theta": (*thetas, self.rope_theta)[0]}


class Llama(OneRope):
    """LlamaForCausalLM."""

    name = "LlamaForCausalLM"
    model_type = "llama"
    norms = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    fixed = {"norm": "rmsnorm"}
    heads_divide_width = True

    vocab_size: PositiveInt = 32000
    intermediate_size: PositiveInt = 11008
    max_position_embeddings: PositiveInt = 2048


class Qwen3(OneRope):
    """Qwen3ForCausalLM; without layer_types, the layers from max_window_layers on are local if
    there are windows."""

    name = "Qwen3ForCausalLM"
    model_type = "qwen3"
    norms = {
        **Llama.norms,
        "attention.q_norm": "self_attn.q_norm",
        "attention.k_norm": "self_attn.k_norm",
    }
    fixed = {"norm": "rmsnorm", "qk_norm": True}

    vocab_size: PositiveInt = 151936
    intermediate_size: PositiveInt = 22016
    num_key_value_heads: PositiveInt | None = 32
    head_dim: PositiveInt | None = 128
    max_position_embeddings: PositiveInt = 32768
    use_sliding_window: bool | None = False
    sliding_window: PositiveInt | None = 4096
    max_window_layers: Annotated[int, Field(ge=0)] = 28
    layer_types: list[LayerType] | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of ModelSettings."""
        window = self.sliding_window if self.use_sliding_window else None
        num_global = self.max_window_layers if window else self.num_hidden_layers
        usual = "".join("GL"[n >= num_global] for n in range(self.num_hidden_layers))
        layers = _layers(self.layer_types, usual, window)
        if "window" in layers and window is None:
            expected = "true, as layer_types has sliding layers"
            raise _unsupported("use_sliding_window", False, expected)
        return super().fields() | layers

    @classmethod
    def write(cls, settings: ModelSettings) -> dict[str, Any]:
        """Return the config.json."""
        num_global = settings.layer_kinds.find("L") if settings.window else settings.depth
        return super().write(settings) | {
            "layer_types": _layer_types(settings),
            "sliding_window": settings.window,
            "use_sliding_window": settings.window is not None,
            "max_window_layers": num_global,
        }


class Gemma3(Architecture):
    """Gemma3ForCausalLM; without layer_types, every sixth layer (sliding_window_pattern) is
    global."""

    name = "Gemma3ForCausalLM"
    model_type = "gemma3_text"
    norms = {
        **Qwen3.norms,
        "attention_post_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "ffn_post_norm": "post_feedforward_layernorm",
    }
    fixed = {
        "norm": "zero_centered_rmsnorm",
        "post_norm": True,
        "qk_norm": True,
        "embedding_scale": True,
    }
    heads_divide_width = True

    vocab_size: PositiveInt = 262208
    hidden_size: PositiveInt = 2304
    intermediate_size: PositiveInt = 9216
    num_hidden_layers: Annotated[int, Field(ge=1, le=10_000)] = 26
    num_attention_heads: PositiveInt = 8
    num_key_value_heads: PositiveInt | None = 4
    head_dim: PositiveInt | None = 256
    activation: Literal["silu", "gelu_pytorch_tanh"] = Field(
        "gelu_pytorch_tanh", alias="hidden_activation"
    )
    max_position_embeddings: PositiveInt = 131072
    tie_word_embeddings: bool | None = True
    rope_theta: PositiveFloat = 1_000_000.0
    rope_local_base_freq: PositiveFloat = 10_000.0
    rope_parameters: LayerRopes | None = None
    query_pre_attn_scalar: PositiveFloat = 256
    final_logit_softcapping: PositiveFloat | None = None
    sliding_window: PositiveInt = 4096
    sliding_window_pattern: PositiveInt | None = None
    layer_types: list[LayerType] | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of ModelSettings."""
        ropes, period = self.rope_parameters or LayerRopes(), self.sliding_window_pattern or 6
        theta = (ropes.full_attention or Rope()).rope_theta or self.rope_theta
        local = (ropes.sliding_attention or Rope()).rope_theta or self.rope_local_base_freq
        usual = "".join("LG"[n % period == 0] for n in range(1, self.num_hidden_layers + 1))
        return super().fields() | {
            "rope_theta": theta,
            "rope_theta_local": None if local == theta else local,
            "query_scale": self.query_pre_attn_scalar**-0.5,
            "logit_soft_cap": self.final_logit_softcapping,
            **_layers(self.layer_types, usual, self.sliding_window),
        }

    @classmethod
    def write(cls, settings: ModelSettings) -> dict[str, Any]:
        """Return the config.json."""
        theta, local = settings.rope_theta, settings.rope_theta_local or settings.rope_theta
        scale = settings.query_scale or settings.head_width**-0.5
        return super().write(settings) | {
            "rope_parameters": {"full_attention": _rope(theta), "sliding_attention": _rope(local)},
            "rope_local_base_freq": local,
            "query_pre_attn_scalar": max(1, round(scale**-2)),  # transformers requires an integer
            "final_logit_softcapping": settings.logit_soft_cap,
            "layer_types": _layer_types(settings),
            # transformers requires it even if no layer uses it.
            "sliding_window": settings.window or settings.max_seq_len,
        }


ARCHITECTURES: dict[str, type[Architecture]] = {row.name: row for row in (Llama, Qwen3, Gemma3)}
"""By model class."""


def architecture_of(config: Mapping[str, Any], file: Path) -> type[Architecture]:
    """Return the class for a config.json by its model class or, without one, its model_type."""
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


def shortest_period(kinds: str) -> str:
    """Return the shortest pattern that, repeated and truncated, gives `kinds`."""
    lengths = range(1, len(kinds) + 1)
    return next(kinds[:n] for n in lengths if (kinds[:n] * len(kinds))[: len(kinds)] == kinds)


def in_a_word(value: Any) -> str:
    """Return a JSON value for a message: short and on one line."""
    if value is None:
        return "nothing"
    is_word = isinstance(value, str) and value.strip() and value.isprintable()
    plain = str(value) if is_word else json.dumps(value)
    return plain if len(plain) <= _MAX_CHARS else f"{plain[:_MAX_CHARS]} ..."


def _layers(types: Sequence[str] | None, usual: str, window: int | None) -> dict[str, Any]:
    """Return the pattern of layer types or, without any, of the usual kinds."""
    if types is not None and len(types) != len(usual):
        raise _unsupported(
            "layer_types", f"{len(types)} of them", f"{len(usual)}, one for each layer"
        )
    kinds = usual if types is None else "".join(_LETTERS[kind] for kind in types)
    if "L" not in kinds:
        return {"layer_pattern": "G"}
    # In transformers, too, `sliding_window` includes the current token.
    return {"layer_pattern": shortest_period(kinds), "window": window}


def _layer_types(settings: ModelSettings) -> list[str]:
    types = {letter: kind for kind, letter in _LETTERS.items()}
    return [types[kind] for kind in settings.layer_kinds]


def _rope(theta: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta}


def _unsupported(key: str, got: Any, expected: str) -> YxanulError:
    return YxanulError(f"unsupported {key}", got=in_a_word(got), expected=expected)
