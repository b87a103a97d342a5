"""YAML that remembers where each value stands, so that an error can name the file and the line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from yxanul.base.errors import YxanulError

Keys = tuple[str | int, ...]

_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)$"
    r"|^[-+]?(?:[0-9][0-9_]*)?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?[0-9][0-9_]*\.$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)


_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$|^0x[0-9a-fA-F]+$")
_UNWANTED = tuple(f"tag:yaml.org,2002:{name}" for name in ("float", "int", "timestamp"))


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes `1e-5` for text and `12:30` for 750; here a number is what looks like one."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNWANTED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass
class MarkedTree:
    """Plain data, and for each path of keys the place it was written at."""

    value: Any
    marks: dict[Keys, str] = field(default_factory=dict)

    def mark(self, keys: Keys) -> str:
        """Return the place of `keys`, or of the nearest parent that has one."""
        while keys and keys not in self.marks:
            keys = keys[:-1]
        return self.marks.get(keys, "")

    def merged_over(self, base: MarkedTree) -> MarkedTree:
        """Lay this tree over `base`: mappings merge, anything else replaces.

        A mapping with another `kind` than its base's is another thing, and replaces it too.
        """
        marks = dict(base.marks)
        value = _merge(base.value, self.value, (), marks)
        return MarkedTree(value, marks | self.marks)

    def below(self, keys: Keys) -> MarkedTree:
        """Return what stands under `keys` as a tree of its own."""
        value, depth = self.value, len(keys)
        for key in keys:
            value = value[key]
        marks = {known[depth:]: at for known, at in self.marks.items() if known[:depth] == keys}
        return MarkedTree(value, marks)

    def put(self, keys: Keys, tree: MarkedTree) -> None:
        """Put a tree in the place of what stands under `keys`."""
        node = self.value
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = tree.value
        _forget(self.marks, keys)
        self.marks |= {(*keys, *known): at for known, at in tree.marks.items()}

    def set(self, dotted: str, text: str) -> None:
        """Apply one override `dotted.path=text`; the text is YAML and keys reach into lists."""
        place = f"override '{dotted}={text}'"
        value = parse(text, place).value
        keys: list[str | int] = []
        node = self.value
        *parents, last = dotted.split(".")
        for name in parents:
            key = _key_in(node, name, place)
            keys.append(key)
            node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
        key = _key_in(node, last, place)
        node[key] = value
        _forget(self.marks, (*keys, key))
        self.marks[(*keys, key)] = place


def read(path: Path) -> MarkedTree:
    """Read a YAML file; errors of syntax name the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise YxanulError(f"{path} is not UTF-8 text", found=error) from None
    except OSError as error:
        raise YxanulError(f"cannot read {path}", found=error.strerror) from None
    return parse(text, str(path))


def parse(text: str, name: str) -> MarkedTree:
    """Parse YAML text; `name` stands in front of line and column in the marks."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        tree = MarkedTree(None)
        tree.value = _convert(loader, node, (), tree.marks, name) if node else None
        return tree
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).replace("\n", " ")
        raise YxanulError(f"{place}: not valid YAML", found=problem) from None
    except RecursionError:
        raise YxanulError(f"{name}: nested too deeply") from None


def _convert(
    loader: _Loader, node: yaml.Node, keys: Keys, marks: dict[Keys, str], name: str
) -> Any:
    marks.setdefault(keys, f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}")
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return [_convert(loader, item, (*keys, i), marks, name) for i, item in items]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node, deep=True)
    mapping: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node))
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if key in mapping:
            raise YxanulError(f"{name}:{line}:{column}: the key '{key}' stands twice")
        marks[(*keys, key)] = f"{name}:{line}:{column}"
        mapping[key] = _convert(loader, value_node, (*keys, key), marks, name)
    return mapping


def _merge(base: Any, top: Any, keys: Keys, marks: dict[Keys, str]) -> Any:
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


def _forget(marks: dict[Keys, str], keys: Keys) -> None:
    for known in [known for known in marks if known[: len(keys)] == keys]:
        del marks[known]


def _key_in(node: Any, name: str, place: str) -> str | int:
    if isinstance(node, dict):
        return name
    if isinstance(node, list):
        if name.isdecimal() and int(name) < len(node):
            return int(name)
        raise YxanulError(place, found=f"'{name}'", wanted=f"a number below {len(node)}")
    raise YxanulError(place, hint=f"there is nothing below which '{name}' could be set")
