"""Who may import whom: the table of docs/architecture.md, checked on the imports themselves."""

import ast
from pathlib import Path

import pytest

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
    "eval": {"tokenizer", "data", "model", "generate"},
    "plan": {"model", "tokenizer", "checkpoint", "bundle", "data", "optim", "train", "monitor"},
    "recipe": SETTINGS | {"checkpoint"},
    "stages": STAGES,
    "cli": STAGES | {"stages", "plan"},
}
WITHOUT_TORCH = {"base", "text", "tokenizer", "data", "recipe"}


def files():
    return sorted(SRC.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path):
    """Yield (module, inside a function or under TYPE_CHECKING) for every import of a file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) not in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in top


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_imports_follow_the_table(path):
    package = package_of(path)
    if package.startswith("__"):
        return
    for module, _ in imports(path):
        if module.startswith("yxanul."):
            other = module.split(".")[1]
            allowed = MAY_IMPORT[package] | {package, "base"}
            assert other in allowed, f"{package} imports {module}"


def test_every_package_is_in_the_table():
    assert {package_of(path) for path in files()} - {"__init__", "__main__"} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_what_needs_no_torch_imports_none(path):
    exempt = path == SRC / "data" / "batches.py" or path.name == "config.py"
    if package_of(path) in WITHOUT_TORCH and not exempt:
        assert "torch" not in {module.split(".")[0] for module, _ in imports(path)}


def test_recipe_imports_settings_only():
    for module, _ in imports(SRC / "recipe.py"):
        if module.startswith("yxanul.") and not module.startswith("yxanul.base."):
            assert module.endswith(".config")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_only_the_command_line_talks(path):
    if package_of(path) == "cli" or path == SRC / "base" / "interrupt.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "exit", "quit", "sys.exit", "input", "os._exit"}
