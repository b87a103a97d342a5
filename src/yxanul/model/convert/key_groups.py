"""Groups of config.json keys and their conversion to and from model settings.

A group's `read` raises for a value that our models cannot express. Its `write` is best effort:
`write.py` reads the keys back and compares, so nothing is checked twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from yxanul.model.config import ModelSettings
from yxanul.model.convert.keys import Keys

Fields = dict[str, Any]


class KeyGroup(NamedTuple):
    """Conversion of some config.json keys, in both directions."""

    read: Callable[[Keys], Fields]
    """Converts keys to fields of ModelSettings."""
    write: Callable[[ModelSettings], Fields]
    """Converts settings to keys; keys that are the same in every model are not written."""


ACTIVATIONS = {"silu": "swiglu", "gelu_pytorch_tanh": "geglu"}
"""Their activation name to our gated feed-forward."""

_LAYER_TYPES = {"full_attention": "G", "sliding_attention": "L"}
_MAX_LAYERS = 10_000
_INIT_STD = 0.02
_MUST_BE = {
    "attention_bias": False,
    "mlp_bias": False,
    "attn_logit_softcapping": None,
    "use_bidirectional_attention": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""Keys with only one supported value; a missing key is fine."""


def _read_shape(keys: Keys) -> Fields:
    for key, expected in _MUST_BE.items():
        if keys.get(key, expected) != expected:
            raise keys.misfit(key, keys.get(key), "none" if expected is None else expected)
    return {
        "width": keys.whole("hidden_size"),
        "depth": _depth(keys),
        **_read_heads(keys),
        "ffn_width": keys.whole("intermediate_size"),
        "norm_eps": keys.number("rms_norm_eps"),
        "max_seq_len": keys.whole("max_position_embeddings"),
        "vocab_size": keys.whole("vocab_size"),
        "init_std": _read_init_std(keys),
        "head": "tied" if keys.flag("tie_word_embeddings") else "untied",
    }


def _depth(keys: Keys) -> int:
    return keys.whole("num_hidden_layers", most=_MAX_LAYERS)


def _read_heads(keys: Keys) -> Fields:
    width, num_heads = keys.whole("hidden_size"), keys.whole("num_attention_heads")
    num_kv_heads = keys.whole("num_key_value_heads", num_heads)
    if keys.get("head_dim") is None and width % num_heads:
        raise keys.misfit("num_attention_heads", num_heads, f"a divisor of hidden_size {width}")
    head_width = keys.whole("head_dim", width // num_heads)
    if num_heads % num_kv_heads:
        expected = f"a divisor of num_attention_heads {num_heads}"
        raise keys.misfit("num_key_value_heads", num_kv_heads, expected)
    if head_width % 2:
        expected = "an even number, as RoPE rotates pairs of features"
        raise keys.misfit("head_dim", head_width, expected)
    return {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_width": head_width}


def _read_init_std(keys: Keys) -> float:
    """Return initializer_range; 0 counts as missing, as no weights can have been drawn with it."""
    value = keys.get("initializer_range", _INIT_STD)
    is_zero = value == 0 and not isinstance(value, bool)
    return _INIT_STD if is_zero else keys.positive("initializer_range", value)


def _write_shape(settings: ModelSettings) -> Fields:
    return {
        "hidden_size": settings.width,
        "num_hidden_layers": settings.depth,
        "num_attention_heads": settings.num_heads,
        "num_key_value_heads": settings.num_kv_heads,
        "head_dim": settings.head_width,
        "intermediate_size": settings.ffn_width,
        "rms_norm_eps": settings.norm_eps,
        "max_position_embeddings": settings.max_seq_len,
        "vocab_size": settings.num_tokens,
        "initializer_range": settings.init_std,
        "tie_word_embeddings": settings.head == "tied",
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


SHAPE = KeyGroup(_read_shape, _write_shape)


def activation(key: str) -> KeyGroup:
    """Return the group for the activation of the feed-forward, stored under `key`."""
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    return KeyGroup(
        lambda keys: {"ffn": ACTIVATIONS[keys.one_of(key, ACTIVATIONS)]},
        lambda settings: {key: names[settings.ffn]} if settings.ffn in names else {},
    )


def fixed(**fields: Any) -> KeyGroup:
    """Return the group for settings that are the same in every model of an architecture."""
    return KeyGroup(lambda keys: fields, lambda settings: {})


def _read_one_rope(keys: Keys) -> Fields:
    key = "rope_scaling" if keys.group("rope_scaling") else "rope_parameters"
    return {"rope_theta": _theta(keys, key, keys.group(key), ("rope_theta", 10_000.0))}


def _write_one_rope(settings: ModelSettings) -> Fields:
    # The flat key is for readers older than transformers 5.
    theta = settings.rope_theta
    return {"rope_parameters": _rope(theta), "rope_theta": theta}


ONE_ROPE = KeyGroup(_read_one_rope, _write_one_rope)


def _read_two_ropes(keys: Keys) -> Fields:
    _theta(keys, "rope_scaling", keys.group("rope_scaling"), ("rope_theta", 1_000_000.0))
    groups = keys.group("rope_parameters")
    if not set(groups) <= set(_LAYER_TYPES):
        raise keys.misfit("rope_parameters", sorted(groups), f"only {' and '.join(_LAYER_TYPES)}")
    flat = ("rope_theta", 1_000_000.0), ("rope_local_base_freq", 10_000.0)
    given = ({} if groups.get(kind) is None else groups[kind] for kind in _LAYER_TYPES)
    theta, local = (
        _theta(keys, f"rope_parameters.{kind}", group, otherwise)
        for kind, group, otherwise in zip(_LAYER_TYPES, given, flat, strict=True)
    )
    return {"rope_theta": theta, "rope_theta_local": None if local == theta else local}


def _write_two_ropes(settings: ModelSettings) -> Fields:
    theta, local = settings.rope_theta, settings.rope_theta_local or settings.rope_theta
    return {
        "rope_parameters": {"full_attention": _rope(theta), "sliding_attention": _rope(local)},
        "rope_theta": theta,
        "rope_local_base_freq": local,
    }


TWO_ROPES = KeyGroup(_read_two_ropes, _write_two_ropes)


def _rope(theta: float) -> Fields:
    return {"rope_type": "default", "rope_theta": theta}


def _theta(keys: Keys, key: str, group: Any, otherwise: tuple[str, float]) -> float:
    """Return the RoPE base; raise for scaled or partial RoPE.

    `otherwise` is the flat key to use if the group has no base, and that key's default.
    """
    if not isinstance(group, dict):
        raise keys.misfit(key, group, "an object")
    kind = group.get("rope_type", group.get("type", "default"))
    if kind != "default":
        raise keys.misfit(f"{key}.rope_type", kind, "default, as scaled RoPE is not supported")
    if group.get("partial_rotary_factor") not in (None, 1.0):
        raise keys.misfit(f"{key}.partial_rotary_factor", group["partial_rotary_factor"], 1.0)
    if group.get("rope_theta") is None:
        return keys.number(*otherwise)
    return keys.positive(f"{key}.rope_theta", group["rope_theta"])


def _read_qwen_layers(keys: Keys) -> Fields:
    """Read layers; without layer_types, those from max_window_layers on are local (if windowed)."""
    windows = keys.flag("use_sliding_window") and keys.get("sliding_window") is not None
    num_global = keys.whole("max_window_layers", least=0)
    return _layers(keys, lambda n: windows and n >= num_global, windows)


def _read_gemma_layers(keys: Keys) -> Fields:
    """Read layers; without layer_types, every sixth (sliding_window_pattern) is global."""
    period = keys.whole("sliding_window_pattern", 6)
    return _layers(keys, lambda n: (n + 1) % period != 0, True)


def _layers(keys: Keys, is_local: Callable[[int], bool], windows: bool) -> Fields:
    depth, usual = _depth(keys), ("full_attention", "sliding_attention")
    types = keys.get("layer_types", [usual[is_local(n)] for n in range(depth)])
    fits = isinstance(types, list) and len(types) == depth
    if not fits or not all(kind in tuple(_LAYER_TYPES) for kind in types):
        raise keys.misfit("layer_types", types, f"{depth} of {', '.join(_LAYER_TYPES)}")
    kinds = "".join(_LAYER_TYPES[kind] for kind in types)
    if "L" not in kinds:
        return {"layer_pattern": "G"}
    if not windows:
        raise keys.misfit("use_sliding_window", False, "true, as layer_types has sliding layers")
    return {"layer_pattern": shortest_period(kinds), "window": keys.whole("sliding_window")}


def shortest_period(kinds: str) -> str:
    """Return the shortest pattern that, repeated and truncated, gives `kinds`."""
    lengths = range(1, len(kinds) + 1)
    return next(kinds[:n] for n in lengths if (kinds[:n] * len(kinds))[: len(kinds)] == kinds)


def _write_layers(settings: ModelSettings) -> Fields:
    # In transformers, too, `sliding_window` includes the current token.
    types = {letter: kind for kind, letter in _LAYER_TYPES.items()}
    return {
        "layer_types": [types[kind] for kind in settings.layer_kinds],
        "sliding_window": settings.window,
    }


def _write_qwen_layers(settings: ModelSettings) -> Fields:
    num_global = settings.layer_kinds.find("L") if settings.window else settings.depth
    return {
        **_write_layers(settings),
        "use_sliding_window": settings.window is not None,
        "max_window_layers": num_global,
    }


QWEN_LAYERS = KeyGroup(_read_qwen_layers, _write_qwen_layers)


def _write_gemma_layers(settings: ModelSettings) -> Fields:
    # transformers requires sliding_window even if no layer uses it.
    return {**_write_layers(settings), "sliding_window": settings.window or settings.max_seq_len}


GEMMA_LAYERS = KeyGroup(_read_gemma_layers, _write_gemma_layers)


def _read_query_scale(keys: Keys) -> Fields:
    return {"query_scale": keys.number("query_pre_attn_scalar") ** -0.5}


def _write_query_scale(settings: ModelSettings) -> Fields:
    scale = settings.query_scale or settings.head_width**-0.5
    return {"query_pre_attn_scalar": max(1, round(scale**-2))}  # transformers requires an integer


QUERY_SCALE = KeyGroup(_read_query_scale, _write_query_scale)


def _read_soft_cap(keys: Keys) -> Fields:
    has = keys.get("final_logit_softcapping") is not None
    return {"logit_soft_cap": keys.number("final_logit_softcapping") if has else None}


SOFT_CAP = KeyGroup(
    _read_soft_cap, lambda settings: {"final_logit_softcapping": settings.logit_soft_cap}
)
