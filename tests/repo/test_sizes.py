"""Files, functions and arguments stay small."""

import ast
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src" / "yxanul"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ARGUMENTS = 7


def functions(path):
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def large_parts(path):
    """Name what is too large in a file."""
    if len(path.read_text().splitlines()) > MAX_FILE_LINES:
        yield path, "lines"
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > MAX_FUNCTION_LINES and function.name != "command":
            yield path, function.name, "lines"
        count = len(function.args.args) + len(function.args.kwonlyargs)
        count -= function.args.args[:1] != [] and function.args.args[0].arg in ("self", "cls")
        # A verb's arguments are its options: they are what a person types.
        if count > MAX_ARGUMENTS and path.parent.name != "cli":
            yield path, function.name, "arguments"


def test_files_and_functions():
    assert [part for path in sorted(SRC.rglob("*.py")) for part in large_parts(path)] == []


def test_init_files_hold_names_only():
    for path in SRC.rglob("__init__.py"):
        for node in ast.parse(path.read_text()).body:
            allowed = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.If
            is_lookup = isinstance(node, ast.FunctionDef) and node.name.startswith(
                ("open_", "build_")
            )
            assert isinstance(node, allowed) or is_lookup, (path, ast.unparse(node)[:80])
