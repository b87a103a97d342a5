import math

import pytest

from yxanul.base.errors import YxanulError
from yxanul.recipe.source_map import parse, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("3E8", 3e8), ("-2e+3", -2000.0), ("1.5e-3", 1.5e-3), (".5", 0.5),
        ("4.", 4.0), ("1_000.5", 1000.5), ("0.1", 0.1), (".inf", math.inf),
        ("7", 7), ("-7", -7), ("+7", 7), ("1_000", 1000), ("0x10", 16),
        *((text, text) for text in ("e5", "1e", "1e5x", "step-1e5", "1.2.3", "._", "0b_")),
        ("'1e-5'", "1e-5"),
        *((text, text) for text in ("2026-01-02", "2026-13-45", "12:30")),  # dates and times
    ],
)  # fmt: skip
def test_what_looks_like_a_number_is_one(text, value):
    found = parse(f"a: {text}", "x").value["a"]
    assert type(found) is type(value) and found == value


def test_a_key_that_stands_twice_is_refused_at_its_second_place():
    with pytest.raises(YxanulError, match=r"^x:3:3: duplicate key 'b'$"):
        parse("a:\n  b: 1\n  b: 2\n", "x")
    assert parse("a: {b: 1}\nc: {b: 2}\n", "x").value == {"a": {"b": 1}, "c": {"b": 2}}


def test_marks_are_the_lines_and_columns_of_keys_and_items():
    tree = parse("a: 1\nb:\n  c:\n    - x\n    - {d: 2}\n", "f.yaml")
    assert tree.mark(("a",)) == "f.yaml:1:1"
    assert tree.mark(("b", "c")) == "f.yaml:3:3"
    assert tree.mark(("b", "c", 0)) == "f.yaml:4:7"
    assert tree.mark(("b", "c", 1, "d")) == "f.yaml:5:8"
    assert tree.mark(("b", "missing", "deeper")) == "f.yaml:2:1"


def test_mappings_merge_and_everything_else_replaces():
    base = parse("a: {b: 1, c: {d: 2}}\nlist: [1, 2, 3]\n", "base")
    top = parse("a: {c: {e: 3}}\nlist: [9]\n", "top")
    merged = top.merged_over(base)
    assert merged.value == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "list": [9]}
    assert merged.mark(("a", "b")) == "base:1:5"
    assert merged.mark(("a", "c", "e")) == "top:1:9"
    assert merged.mark(("list", 2)) == merged.mark(("list",)) == "top:2:1"
    assert base.value["a"]["c"] == {"d": 2}


def test_another_kind_replaces_and_the_same_or_none_merges():
    base = parse("a: {kind: bpe, size: 5}\n", "base")

    def over(text):
        return parse(text, "top").merged_over(base).value["a"]

    assert over("a: {kind: byte}") == {"kind": "byte"}
    assert over("a: {kind: bpe, more: 1}") == {"kind": "bpe", "size": 5, "more": 1}
    assert over("a: {size: 6}") == {"kind": "bpe", "size": 6}
    replaced = parse("a: {kind: byte}", "top").merged_over(base)
    assert replaced.mark(("a", "size")) == "top:1:1"


def test_overrides_reach_into_mappings_and_lists():
    tree = parse("a: {b: 1}\nlist:\n  - {c: 1, d: {e: 2}}\n  - 5\n", "x")
    tree.set("a.b", "1e-3")
    tree.set("list.0.d", "{f: 3}")
    tree.set("list.1", "[6, 7]")
    tree.set("new.deep.key", "null")
    assert tree.value == {
        "a": {"b": 1e-3},
        "list": [{"c": 1, "d": {"f": 3}}, [6, 7]],
        "new": {"deep": {"key": None}},
    }
    assert tree.mark(("list", 0, "d", "e")) == "override 'list.0.d={f: 3}'"
    assert tree.mark(("list", 0, "c")) == "x:3:6"


@pytest.mark.parametrize(
    ("dotted", "said"),
    [
        ("list.2", "got '2'; expected an index below 2"),
        ("list.-1", "got '-1'"),
        ("list.first", "got 'first'"),
        ("list.0.b", "'b' cannot"),
    ],
)
def test_an_override_beside_the_list_says_so(dotted, said):
    tree = parse("list: [1, 2]", "x")
    with pytest.raises(YxanulError, match=f"override '{dotted}=3'") as caught:
        tree.set(dotted, "3")
    assert said in str(caught.value)
    assert tree.value == {"list": [1, 2]}


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "a: !python/name:os 1", "*no"])
def test_broken_yaml_is_one_line_with_its_place(text):
    with pytest.raises(YxanulError, match=r"^x:\d+:\d+: ") as caught:
        parse(text, "x")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path):
    with pytest.raises(YxanulError, match=r"cannot read .*none\.yaml; got No such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff")
    with pytest.raises(YxanulError, match=r"bad\.yaml:1:4: not UTF-8 text"):
        read(tmp_path / "bad.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read(tmp_path / "empty.yaml").value is None
