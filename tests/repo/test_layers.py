"""Who may import whom: the table of docs/architecture.md, checked on the imports themselves."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src" / "yxanul"
SETTINGS = {"text", "tokenizer", "data", "model", "optim", "train", "stages", "monitor", "eval"}
STAGES = {
    "text", "tokenizer", "data", "model", "optim", "checkpoint", "monitor", "train", "bundle",
    "generate", "eval", "recipe",
}  # fmt: skip
MAY_IMPORT = {
    "base": set(),
    "text": set(),
    "tokenizer": set(),
    "model": set(),
    "optim": set(),
    "checkpoint": set(),
    "data": {"text", "tokenizer"},
    "monitor": {"model"},
    "train": {"data", "model", "optim", "checkpoint", "monitor"},
    "bundle": {"tokenizer", "model", "checkpoint"},
    "generate": {"tokenizer", "model"},
    "eval": {"text", "tokenizer", "data", "model", "generate"},
    "plan": STAGES | {"stages"},
    "recipe": SETTINGS | {"checkpoint", "bundle"},
    "report": {"model", "text", "eval"},
    "stages": STAGES | {"report"},
    "inspect": STAGES | {"stages", "report"},
    "cli": STAGES | {"stages", "plan", "inspect", "report"},
    "lm_eval": {"eval", "bundle", "cli"},
}
OWN_PROCESS = {SRC / "base" / "interrupt.py", SRC / "eval" / "sandbox_process.py"}
"""Files that end a process of their own, or answer for it."""
WITHOUT_TORCH = {"base", "text", "tokenizer", "data", "recipe", "report"}


FILES = sorted(SRC.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def package_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path):
    """Yield every module that a file imports, at its top or later."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def said(path: Path, what: str) -> str:
    return f"{path.relative_to(SRC)}: {what}"


def test_imports_follow_the_table():
    found = [
        said(path, module)
        for path in FILES
        if not (package := package_of(path)).startswith("__")
        for module in imports(path)
        if module.startswith("yxanul.")
        and module.split(".")[1] not in MAY_IMPORT[package] | {package, "base"}
    ]
    assert found == []


def test_every_package_is_in_the_table():
    assert {package_of(path) for path in FILES} - {"__init__", "__main__"} <= set(MAY_IMPORT)


def test_what_needs_no_torch_imports_none():
    found = [
        path
        for path in FILES
        if package_of(path) in WITHOUT_TORCH
        and not (path == SRC / "data" / "batches.py" or path.name == "config.py")
        and "torch" in {module.split(".")[0] for module in imports(path)}
    ]
    assert found == []


def test_recipe_imports_settings_only():
    """And the shape of weights, once there is a recipe that starts from some."""
    files = (SRC / "recipe").glob("*.py")
    for module in (module for path in files for module in imports(path)):
        if module.startswith("yxanul.") and module.split(".")[1] not in ("base", "recipe"):
            assert (
                module.endswith((".config", "optim.table", "model.zoo"))
                or module == "yxanul.bundle"
            )


def test_only_the_command_line_talks():
    talk = {"print", "exit", "quit", "sys.exit", "input", "os._exit"}
    found = [
        said(path, ast.unparse(node))
        for path in FILES
        if package_of(path) != "cli" and path not in OWN_PROCESS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and name_of(node.func) in talk
    ]
    assert found == []


def name_of(called: ast.expr) -> str:
    """Return `f` or `module.f`; nothing of what is longer."""
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        return f"{called.value.id}.{called.attr}"
    return called.id if isinstance(called, ast.Name) else ""


def imported(path: Path):
    """Yield what a file imports at any place, a module for each name where it is one."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_there_is_no_circle():
    """No file imports, in however many steps, a file that imports it."""
    graph = {name: MODULES.keys() & set(imported(path)) for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
