"""YAML with source positions, so that errors can name file and line."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from yxanul.base.errors import YxanulError
from yxanul.recipe.yaml_errors import in_words

Keys = tuple[str | int, ...]

MAX_CHARS, MAX_VALUES = 500_000, 20_000
"""Limits of a file, after expanding aliases."""
MAX_DEPTH = 100
"""Keys in an override: far more than any recipe is deep."""

_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)$"
    r"|^[-+]?(?:[0-9][0-9_]*)?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?[0-9][0-9_]*\.$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)


_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$|^0x[0-9a-fA-F]+$")
_TAG = "tag:yaml.org,2002:"
_UNWANTED = tuple(_TAG + name for name in ("float", "int", "timestamp", "merge", "value"))
_WANTED = tuple(_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))


class _Loader(yaml.SafeLoader):
    """Loader with intuitive numbers: YAML 1.1 reads `1e-5` as text and `12:30` as 750."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNWANTED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes all text that `_Loader` would read as another type."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML loses Unicode line breaks in any other style.
    style = '"' if re.search("[\x85\u2028\u2029]", text) else None
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.yaml_implicit_resolvers = {
    first: [*_Loader.yaml_implicit_resolvers.get(first, ()), *resolvers]
    for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
}


class Mark(NamedTuple):
    """Position at which a value was written."""

    place: str
    layer: int = 0
    """-1 for an override, 0 for the file itself, 1 for its parent, and so on."""


@dataclass
class SourceMap:
    """Nested data with the source position of each path of keys."""

    value: Any
    marks: dict[Keys, Mark] = field(default_factory=dict)

    def mark(self, keys: Keys) -> str:
        """Return the position of `keys`, or of the nearest parent that has one."""
        return self._mark(keys).place

    def nearest(self, choices: Sequence[Keys]) -> Keys:
        """Return the choice that was written closest to the user: in an override, else in the
        recipe itself, else in a parent."""
        written = [keys for keys in choices if self._holds(keys)]
        return min(written or choices, key=lambda keys: self._mark(keys).layer)

    def _holds(self, keys: Keys) -> bool:
        node = self.value
        for key in keys:
            if key not in keys_of(node):
                return False
            node = node[key]
        return True

    def _mark(self, keys: Keys) -> Mark:
        while keys and keys not in self.marks:
            keys = keys[:-1]
        return self.marks.get(keys, Mark(""))

    def merged_over(self, base: SourceMap) -> SourceMap:
        """Merge this tree over `base`: mappings are merged, anything else is replaced.

        A mapping whose `kind` differs from that of its base is replaced, too.
        """
        marks = {keys: Mark(place, layer + 1) for keys, (place, layer) in base.marks.items()}
        value = _merge(base.value, self.value, (), marks)
        return SourceMap(value, marks | self.marks)

    def below(self, keys: Keys) -> SourceMap:
        """Return the subtree at `keys`."""
        value, depth = self.value, len(keys)
        for key in keys:
            value = value[key]
        marks = {known[depth:]: at for known, at in self.marks.items() if known[:depth] == keys}
        return SourceMap(value, marks)

    def put(self, keys: Keys, tree: SourceMap) -> None:
        """Replace the subtree at `keys`."""
        node = self.value
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = tree.value
        _forget(self.marks, keys)
        self.marks |= {(*keys, *known): at for known, at in tree.marks.items()}

    def set(self, dotted: str, text: str) -> None:
        """Apply an override `dotted.path=text`; the text is YAML, and list indices may be keys."""
        place = f"override '{dotted}={text}'"
        value = parse(text, place).value
        if "[" in dotted:
            meant = re.sub(r"\[([^\]]*)\]", r".\1", dotted)
            raise YxanulError(place, expected="keys joined by dots", hint=f"write {meant}={text}")
        keys: list[str | int] = []
        node = self.value
        *parents, last = names = dotted.split(".")
        if not all(names) or len(names) > MAX_DEPTH:
            raise YxanulError(place, expected="key.path=value")
        for name in parents:
            key = _key_in(node, name, place)
            keys.append(key)
            if isinstance(node, dict) and node.get(key) is None:
                node[key] = {}
                self.marks[tuple(keys)] = Mark(place, -1)
            node = node[key]
        key = _key_in(node, last, place)
        node[key] = value
        _forget(self.marks, (*keys, key))
        self.marks[(*keys, key)] = Mark(place, -1)


def read(path: Path) -> SourceMap:
    """Read a YAML file; syntax errors name the line."""
    try:
        if (size := path.stat().st_size) > MAX_CHARS:
            raise YxanulError(f"{path} is too large for a recipe", got=f"{size:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode().split("\n")
        raise YxanulError(
            f"{path}:{len(before)}:{len(before[-1]) + 1}: not UTF-8 text",
            got=f"byte 0x{error.object[error.start]:02x}",
            hint="save the file as UTF-8",
        ) from None
    except OSError as error:
        raise YxanulError(f"cannot read {path}", got=error.strerror) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> SourceMap:
    """Parse YAML text; `name` precedes line and column in the marks."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return _Tree(loader, name).of(node) if node else SourceMap(None)
    except yaml.YAMLError as error:
        problem, place = in_words(error, text)
        raise YxanulError(f"{name}{place}: not valid YAML: {problem}") from None
    except RecursionError:
        raise YxanulError(f"{name}: nested too deeply") from None


def dump(value: Any) -> str:
    """Return data as YAML; `parse` restores it exactly."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Tree:
    """Converts the nodes of one YAML text to data with marks."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader, self._name = loader, name
        self._marks: dict[Keys, Mark] = {}
        self._chars = self._values = 0

    def of(self, node: yaml.Node) -> SourceMap:
        """Convert the root node."""
        return SourceMap(self._convert(node, ()), self._marks)

    def _convert(self, node: yaml.Node, keys: Keys) -> Any:
        self._marks.setdefault(keys, Mark(self._place(node)))
        self._values += 1
        self._chars += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if self._values > MAX_VALUES or self._chars > MAX_CHARS:
            raise self._error(node, "too large for a recipe", "aliases (*) repeat large values")
        if node.tag not in _WANTED:
            tag = node.tag.replace(_TAG, "!!")
            raise self._error(node, f"the tag {tag} cannot be used in a recipe", "leave it out")
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(item, (*keys, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        try:
            value = self._loader.construct_object(node)
            str(value).encode()
        except (ValueError, KeyError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise self._error(node, "an unpaired surrogate is not a valid character") from None
            kind = node.tag.removeprefix(_TAG)
            raise self._error(node, f"not a valid {kind}", "put it in quotes") from None
        return value

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(
                    key_node, "a key must be plain text", "quote text that begins with { or ["
                )
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                hint = "repeat the keys, or let one recipe extend another"
                raise self._error(key_node, "merge keys (<<) are not supported", hint)
            if key in mapping:
                raise self._error(key_node, f"duplicate key '{key}'")
            self._marks[(*keys, key)] = Mark(self._place(key_node))
            mapping[key] = self._convert(value_node, (*keys, key))
        return mapping

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _error(self, node: yaml.Node, problem: str, hint: str | None = None) -> YxanulError:
        return YxanulError(f"{self._place(node)}: {problem}", hint=hint)


def keys_of(value: Any) -> Collection[str | int]:
    """Return the keys or indices of a value; none of a scalar."""
    if isinstance(value, dict):
        return value.keys()
    return range(len(value)) if isinstance(value, list) else ()


def _merge(base: Any, top: Any, keys: Keys, marks: dict[Keys, Mark]) -> Any:
    same_kind = (
        isinstance(base, dict)
        and isinstance(top, dict)
        and top.get("kind", base.get("kind")) == base.get("kind")
    )
    if not same_kind:
        _forget(marks, keys)
        return top
    merged = dict(base)
    for key, value in top.items():
        merged[key] = _merge(base[key], value, (*keys, key), marks) if key in base else value
    return merged


def _forget(marks: dict[Keys, Mark], keys: Keys) -> None:
    for known in [known for known in marks if known[: len(keys)] == keys]:
        del marks[known]


def _key_in(node: Any, name: str, place: str) -> str | int:
    if isinstance(node, dict):
        return name
    if isinstance(node, list):
        if name.isdecimal() and int(name) < len(node):
            return int(name)
        expected = f"an index below {len(node)} (the first is 0)"
        raise YxanulError(place, got=f"'{name}'", expected=expected)
    raise YxanulError(
        place, hint=f"'{name}' cannot be set here: its parent is not a mapping or list"
    )
