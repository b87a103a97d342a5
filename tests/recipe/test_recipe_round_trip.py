"""A resolved recipe that is written and read back is the same, for every key that there is."""

import copy
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from recipes import TINY
from yxanul.base.errors import YxanulError
from yxanul.eval.config import TaskSettings
from yxanul.recipe import Recipe, check_tree, dump_recipe
from yxanul.recipe.keys import groups_in, kind_of, walk
from yxanul.recipe.source_map import SourceMap, dump, parse
from yxanul.stages.config import RaiseReplay, Rule
from yxanul.stages.resume import differences

REQUIRED: dict[str, dict[str, Any]] = {
    "builtin": {"domain": "stories"},
    "text": {"path": "x"},
    "jsonl": {"path": "x"},
    "parquet": {"path": "x"},
    "hub": {"name": "a/b"},
    "file": {"path": "x"},
    "length": {"min_chars": 1, "min_tokens": 1},
    "score": {"column": "x", "at_least": 0.1, "at_most": 0.9},
    "value": {"column": "x", "one_of": [1, True, "1", "on"]},
    "quality": {"function": "a.py:f", "at_least": 0.5},
}
FITTING: dict[str, list[Any]] = {
    "name": ["1e5", "a/b", "wsd", "muon", "linear", "blimp"],
    "best": ["val/stories/loss"],
    "metric": ["val/*/loss", "val/stories/loss"],
    "function": ["a.py:f"],
    "chat": ["chatml"],
    "chat_template": [None, "chatml"],
    "layer_pattern": ["GG"],
    "preset": ["nano"],
    "num_kv_heads": [1, 2],
    "head_width": [8],
    "width": [64],
    "max_seq_len": [128],
    "batch_tokens": [512],
    "one_of": [[1, True, "1", "on"]],
    "mix": [{"stories": 1, "math": 0.5}],
    "vocab_size": [300],
    "transition": [None, 280],
}
"""Values that fit where any value of the type would not."""
BESIDE: dict[str, dict[str, Any]] = {
    "window": {"model.layer_pattern": "GL"},
    "embedding_rank": {"model.head": "untied"},
    "muon_lr": {"optim.name": "muon"},
    "hessian_steps": {"optim.name": "sophia"},
    "hessian_scale": {"optim.name": "sophia"},
    "deepspeed": {"train.strategy": "deepspeed"},
    "grad_accum_steps": {"stages.0.curriculum.0.device_batch_size": 2},
    "devices": {"stages.0.curriculum.0.device_batch_size": 2},
    "minutes": {"stages.0.budget": {}},
    "stages.N.budget.tokens": {"stages.0.budget": {}},
    "tokens": {"stages.0.curriculum": [{"seq_len": 32}]},
    "epochs": {"stages.0.budget": {}, "stages.0.mix": {}},
    "steps": {"stages.0.budget": {}, "optim.schedule": {}},
    "from_step": {"stages.0.curriculum": [{"seq_len": 32}]},
    "from_tokens": {"stages.0.curriculum": [{"seq_len": 32}]},
    **{
        name: {f"{above}.schedule": {"name": "wsd"} for above in ("optim", "stages.0.optim")}
        for name in ("min_lr", "min_lr_fraction", "decay_fraction")
    },
    **{
        name: {"optim.schedule": {}}
        for name in ("warmup_tokens", "warmup_fraction", "schedule_unit")
    },
}
"""What has to be said beside a key, if it is not null."""
PLAIN = parse(TINY, "tiny").value
LEAVES = [key for key in walk(Recipe) if not groups_in(key.field.annotation)]
KEYS = {(key.dotted, key.owner): key for key in LEAVES if key.path[-1] != "kind"}


def values(annotation: Any, bounds: tuple[Any, ...] = ()) -> list[Any]:
    """Return values of a type: of each branch of a union, each option, null where it may be."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(inner[0], (*bounds, *inner[1:]))
    if origin in (Union, UnionType):
        return [value for part in inner for value in values(part, bounds)]
    if origin is Literal:
        return list(inner)
    if origin is dict:
        keys, some = values(inner[0]), values(inner[1])
        return [{}, {"stories": some[0]}, *({key: some[0]} for key in keys)]
    if origin is tuple:
        length = 1 if ... in inner else len(inner)
        return [[], *([one] * length for one in values(inner[0]))]
    if annotation is NoneType:
        return [None]
    if annotation is bool:
        return [True, False]
    if annotation is str:
        return ["1e-5"]
    flat = [one for each in bounds for one in getattr(each, "metadata", [each])]
    low = max((getattr(one, "gt", getattr(one, "ge", 0)) for one in flat), default=0)
    return [int(low) + 1] if annotation is int else [low + 0.3, 0.5]


def put(tree: SourceMap, dotted: str, value: Any) -> None:
    node, keys = tree.value, dotted.split(".")
    for key, following in zip(keys, [*keys[1:], ""], strict=True):
        at = int(key) if isinstance(node, list) else key
        if not following:
            node[at] = value
        elif (node.get(at) if isinstance(node, dict) else node[at]) is None:
            node[at] = [None] if following == "0" else {}
        node = node[at]


@pytest.mark.parametrize(("dotted", "owner"), KEYS, ids=lambda it: getattr(it, "__name__", it))
def test_every_value_of_a_key_reads_back(dotted, owner):
    """A value that no recipe may have there is passed over, but not all of a key's values are."""
    key, results = KEYS[dotted, owner], []
    name, kind = key.path[-1], kind_of(owner)
    names = {"N": "0", "NAME": "gsm8k" if "benchmarks" in key.path else "stories"}
    place = ".".join(names.get(part, part) for part in key.path)
    if {"replay", "on_fail"} & set(key.path):  # the first stage has nothing to replay
        place = place.replace("stages.0", "stages.1")
    for value in [*FITTING.get(name, []), *values(key.field.annotation, key.field.metadata)]:
        tree = SourceMap(copy.deepcopy(PLAIN))
        with_it = BESIDE.get(dotted, BESIDE.get(name, {})) if value is not None else {}
        for beside, what in copy.deepcopy(with_it).items():
            put(tree, beside, what)
        if kind is not None:
            put(tree, place.rpartition(".")[0], REQUIRED.get(kind, {}) | {"kind": kind})
        if owner is RaiseReplay:
            put(tree, place.rpartition(".")[0], {"raise_to": 0.3})
        if owner is Rule:
            bound = "at_least" if name == "at_most" else "at_most"
            needs = value is None or name not in ("at_most", "at_least")
            rule = {"metric": "val/*/bits_per_byte"} | ({bound: 1} if needs else {})
            put(tree, place.rpartition(".0.")[0], [rule])
        if owner is TaskSettings:
            put(tree, place.rpartition(".0.")[0], [{"name": "blimp"}])
        put(tree, place, value)
        try:
            recipe = check_tree(tree)
        except YxanulError as error:
            results.append((value, str(error)))
            continue
        again = check_tree(parse(dump_recipe(recipe), "again"))
        assert again == recipe and not differences(recipe, again), value
        results.append((value, "same"))
    assert any(result == "same" for _, result in results), results
    if NoneType in get_args(key.field.annotation):
        assert (None, "same") in results or dotted.endswith(("budget.steps", "share")), results


NASTY = [
    "1e-5", "on", "null", "~", "", "a: b", "é\n", "x\x07", "1_000", "0x10", "08", "- a", "=", "<<",
    "2026-01-02", "12:30", ".inf", "{", "it's", "  x ", "a #b", "\u2028x", "😀", "!x", "1.", "+5",
    "\x85", "\ufeffx", "%a", "@", "&a", "*a", "|", "a\n\n  b\n", "\t", '"',
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_text_reads_back_as_the_same_text(text):
    value = {"a": text, "b": [text, {text: 1}]}
    assert parse(dump(value), "x").value == value


@pytest.mark.parametrize(
    "key",
    [
        "optim.grad_clip",
        "eval.max_tokens",
        "train.checkpoint.every_steps",
        "model.vocab_size",
    ],
)
def test_a_null_over_another_default_stays(key):
    tree = parse(TINY, "tiny")
    tree.set("model", "{preset: yxanul-177m}")
    tree.set("tokenizer", "{kind: gpt2}")
    tree.set(key, "null")
    recipe = check_tree(tree)
    again = check_tree(parse(dump_recipe(recipe), "again"))
    assert differences(recipe, again) == {}
    assert f"{key.split('.')[-1]}: null" in dump_recipe(recipe)
