"""Validation errors of user settings: one line for each mistake, with its position."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from yxanul.base.errors import did_you_mean
from yxanul.base.settings import Misfit, Misfits, Settings
from yxanul.recipe.keys import Key, keys_at, kind_of, walk
from yxanul.recipe.other_names import our_keys, our_value, why_without_key
from yxanul.recipe.source_map import Keys, SourceMap, keys_of

_NO_KIND, _WRONG_KIND = "union_tag_not_found", "union_tag_invalid"
_FOLLOWS = "default_factory_not_called"
_MAX_SHOWN = 60
_MAX_LISTED = 12
_ALIKE = 0.7
"""Minimum similarity of a key to a suggestion."""
_QUANTITY = re.compile(r"([-+]?[\d_,]*\.?\d+(?:[eE][-+]?\d+)?)\s*([kKmMbBgGtT%]?)")
_FACTORS = {"": 1.0, "%": 0.01, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_MAIN_KEYS = ("kind", "preset", "name", "at_most", "decay", "minutes")
"""Key that a scalar is probably meant for where a mapping is expected, by priority."""
_MAPPING = "a mapping, such as {key: value}"
_NOTHING = ("null", "true", "false")
_MUST_BE = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text (in quotes, if it looks like something else)",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "string_pattern_mismatch": "{pattern}",
}
_PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9_-]*$": "letters, digits, _ and -, and begin with a letter or a digit",
    "^[GL]+$": "the letters G and L, as in LLLLLG",
    r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$": "file.py:function",
}


@dataclass(frozen=True)
class _Mistake:
    """A pydantic error, with its keys in the tree."""

    keys: Keys
    kind: str
    text: str
    """The whole message, or what the value must be."""
    value: Any
    loc: Keys

    @property
    def is_of_type(self) -> bool:
        """Whether the value has the wrong type; unions report one such error per member."""
        return self.kind.endswith("_type") or self.kind == "literal_error"


def mistake_lines(tree: SourceMap, error: ValidationError, kind: type[Settings]) -> list[str]:
    """Return a line for each mistake in `tree`, which failed to validate as `kind`.

    Consequences of other mistakes are omitted: a default that could not be computed, a list that is
    too short because its items are invalid, other members of a union.
    """
    mistakes = [one for each in error.errors() for one in _mistakes(tree, dict(each), kind)]
    by_keys: dict[Keys, list[_Mistake]] = {}
    for one in mistakes:
        by_keys.setdefault(one.keys, []).append(one)
    lines: list[str] = []
    for keys, ones in by_keys.items():
        has_deeper = any(other[: len(keys)] == keys for other in by_keys if len(other) > len(keys))
        of_type = [one for one in ones if one.is_of_type or one.kind == "too_short"]
        others = [one for one in ones if one not in of_type]
        texts = [_sentence(one.text, one, kind) for one in others[:1]]
        if not others and not has_deeper:
            texts = [_sentence(" or ".join(dict.fromkeys(one.text for one in ones)), ones[0], kind)]
        lines += [place_line(tree, keys, text) for text in texts]
    return list(dict.fromkeys(lines))


def misfit_lines(tree: SourceMap, misfits: Iterable[Misfit]) -> list[str]:
    """Return a line for each misfit, at the value that was written closest to the user."""
    first: dict[Keys, Misfit] = {}
    for one in misfits:
        first.setdefault(_keys_of_misfit(tree, one, ()), one)
    return [place_line(tree, keys, str(one)) for keys, one in first.items()]


def place_line(tree: SourceMap, keys: Keys, text: str) -> str:
    """Return `position: dotted.key: text`."""
    return ": ".join(part for part in (tree.mark(keys), ".".join(map(str, keys)), text) if part)


def in_yaml(value: Any) -> str:
    """Return a value as written in a recipe, truncated if long."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} ..."


def _keys_of_misfit(tree: SourceMap, misfit: Misfit, below: Keys) -> Keys:
    return tree.nearest([(*below, *keys) for keys in misfit.keys] or [below])


def _mistakes(tree: SourceMap, error: dict[str, Any], kind: type[Settings]) -> Iterator[_Mistake]:
    loc, what = tuple(error["loc"]), str(error["type"])
    if what == _FOLLOWS:
        return
    if what in (_WRONG_KIND, _NO_KIND):
        loc = (*loc, error["ctx"]["discriminator"].strip("'"))
    keys = _keys_in_tree(tree.value, loc, what)
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Misfit | Misfits):
        for one in cause.misfits if isinstance(cause, Misfits) else (cause,):
            yield _Mistake(_keys_of_misfit(tree, one, keys), what, str(one), None, loc)
        return
    value = error["input"][loc[-1]] if what == _WRONG_KIND else error["input"]
    text = _text(error, loc, kind)
    if what == _NO_KIND and (hint := _hint_for_source(tree, keys[:-1])):
        text += f"; {hint}"
    yield _Mistake(keys, what, text, value, loc)


def _hint_for_source(tree: SourceMap, keys: Keys) -> str | None:
    """Suggest a source for one that an override `data.sources.NAME.key=value` has made anew."""
    *parents, name = keys
    if parents != ["data", "sources"] or not tree.mark(keys).startswith("override"):
        return None
    others = [one for one in tree.value["data"]["sources"] if one != name]
    has = f"data.sources has {', '.join(others)}" if others else None
    return did_you_mean(str(name), others) or has


def _text(error: Mapping[str, Any], loc: Keys, kind: type[Settings]) -> str:
    what, context = error["type"], error.get("ctx", {})
    if what == "extra_forbidden":
        return f"unknown key{_hint_for_key(str(loc[-1]), loc[:-1], error['input'], kind)}"
    if what in ("missing", _NO_KIND):
        return f"this {'item' if isinstance(loc[-1], int) else 'key'} is missing"
    if what in ("too_short", "too_long"):
        bound = "least" if what == "too_short" else "most"
        number = context.get("min_length", context.get("max_length"))
        return f"must have at {bound} {number} {'item' if number == 1 else 'items'}"
    if what in _MUST_BE:
        text = _MUST_BE[what]
        for name, value in context.items():
            text = text.replace(f"{{{name}}}", _plain(value))
        return text
    return str(error["msg"]).removeprefix("Value error, ")


def _sentence(text: str, mistake: _Mistake, kind: type[Settings]) -> str:
    """Return the full message: what the value must be, what it is, and a suggestion."""
    if mistake.kind not in _MUST_BE:
        return text
    hint = _hint_for_value(mistake, re.findall(r"'([^']*)'", text), kind)
    sentence = f"must be {text}, got {in_yaml(mistake.value)}"
    return f"{sentence}; {hint}" if hint else sentence


def _hint_for_value(mistake: _Mistake, options: list[str], kind: type[Settings]) -> str | None:
    value = mistake.value
    if isinstance(value, float) and mistake.kind == "int_type" and value.is_integer():
        return f"write {value:.0f}"
    if isinstance(value, dict | list):
        return None
    if isinstance(value, str) and mistake.kind in ("int_type", "float_type"):
        return _number_in(value, whole=mistake.kind == "int_type")
    word = in_yaml(value).strip("'")
    if _MUST_BE[mistake.kind] == _MAPPING:
        return _hint_for_mapping(word, keys_at(kind, mistake.loc))
    ours = our_value(word)
    return f"did you mean '{ours}'?" if ours in options else did_you_mean(word, options)


def _hint_for_mapping(word: str, keys: Sequence[Key]) -> str | None:
    """Suggest a mapping for a scalar where a mapping is expected."""
    known = {key.path[-1] for key in keys}
    main = next((name for name in _MAIN_KEYS if name in known), None)
    if word == "stop" and "rollback" in known:  # in a list of on_fail
        return "leave it out: the run stops by itself after the last action"
    if word in _NOTHING:
        has_defaults = main != "kind" and not any(key.field.is_required() for key in keys)
        hint = {"true": "write {} for the defaults", "null": "leave it out"}.get(word)
        return hint if has_defaults else None
    if main == "kind" and "path" in known and re.search(r"[/.]", word):
        return f"did you mean {{kind: ..., path: {word}}}?"
    return main and f"did you mean {{{main}: {word}}}?"


def _number_in(text: str, whole: bool) -> str | None:
    """Suggest the number for a string such as 10M, 5% or '3e-4'."""
    if not (match := _QUANTITY.fullmatch(text.strip())):
        return None
    number = float(match[1].replace("_", "").replace(",", "")) * _FACTORS[match[2].lower()]
    if number.is_integer() and abs(number) < 1e15:
        return f"write {number:.0f}"
    return None if whole else f"write {number:.12g}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else _PATTERNS.get(value, str(value))


def _hint_for_key(key: str, parents: Keys, value: Any, kind: type[Settings]) -> str:
    known = {one.path[-1] for one in keys_at(kind, parents)}
    name = re.split(r"[\s:=]", key)[0]
    if value is None and name != key and name in known:
        return f"; a ': ' is missing after '{name}'"
    hint = (
        _of_others(key, parents, kind)
        or why_without_key(key)
        or _elsewhere(key, parents, kind, below=True)
        or did_you_mean(key, known, _ALIKE)
        or _elsewhere(key, parents, kind)
    )
    if hint is None:
        hint = "see `yxanul schema --markdown`"
        if len(known) <= _MAX_LISTED:
            hint = f"expected one of {', '.join(sorted(known))}"
    return f"; {hint}"


def _of_others(key: str, parents: Keys, kind: type[Settings]) -> str | None:
    """Suggest our name for a key of another trainer, with its meaning."""
    names = [f"'{ours}'{_meaning(ours, parents, kind)}" for ours in our_keys(key, parents)]
    return f"use {' or '.join(names)}" if names else None


def _meaning(dotted: str, parents: Keys, kind: type[Settings]) -> str:
    *above, name = (int(part) if part.isdecimal() else part for part in dotted.split("."))
    of_kinds = _kinds_with(str(name), parents, kind)
    if of_kinds and parents[-1] not in of_kinds:
        return f" of kind {' or '.join(of_kinds)}"
    fields = [one.field for one in keys_at(kind, above) if one.path[-1] == name]
    text = re.split(r"[.;:(]", fields[0].description or "")[0].strip() if fields else ""
    return f" ({text[:1].lower()}{text[1:]})" if text else ""


def _elsewhere(key: str, parents: Keys, kind: type[Settings], below: bool = False) -> str | None:
    """Suggest where a key of that name exists: below its parent, or anywhere."""
    matches = [one for one in walk(kind) if one.path[-1] == key]
    own = ".".join(str(part) for part in parents)
    if below:
        matches = [one for one in matches if own and one.dotted.startswith(f"{own}.")]
    elif of_kinds := _kinds_with(key, parents, kind):
        return f"only kind {' or '.join(of_kinds)} has it"
    paths = list(dict.fromkeys(one.dotted for one in matches))
    return f"did you mean {' or '.join(paths[:3])}?" if paths else None


def _kinds_with(key: str, parents: Keys, kind: type[Settings]) -> list[str]:
    """Return the members of the parent's union that have a key of that name."""
    siblings = keys_at(kind, parents[:-1])
    with_key = [kind_of(one.owner) for one in siblings if one.path[-1] == key]
    return [name for name in with_key if name is not None]


def _keys_in_tree(value: Any, loc: Sequence[str | int], kind: str) -> Keys:
    """Convert a pydantic location to keys of the tree; locations also name union members."""
    keys: list[str | int] = []
    for part in loc:
        if part in keys_of(value):
            value = value[part]
            keys.append(part)
    if kind in ("missing", _NO_KIND):
        keys.append(loc[-1])
    return tuple(keys)
