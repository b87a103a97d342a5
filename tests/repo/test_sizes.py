"""Files, functions and arguments stay small."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "yxanul"
FILES = sorted(SRC.rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ARGUMENTS = 7


def functions(path):
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_file(path):
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= MAX_FUNCTION_LINES or function.name == "command", function.name
        count = len(function.args.args) + len(function.args.kwonlyargs)
        count -= function.args.args[:1] != [] and function.args.args[0].arg in ("self", "cls")
        # A verb's arguments are its options: they are what a person types.
        assert count <= MAX_ARGUMENTS or path.parent.name == "cli", function.name


@pytest.mark.parametrize("path", sorted(SRC.rglob("__init__.py")), ids=str)
def test_init_files_hold_names_only(path):
    for node in ast.parse(path.read_text()).body:
        allowed = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.If
        is_lookup = isinstance(node, ast.FunctionDef) and node.name.startswith(("open_", "build_"))
        assert isinstance(node, allowed) or is_lookup, ast.unparse(node)[:80]
