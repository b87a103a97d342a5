"""No file of the package imports, in however many steps, a file that imports it."""

import ast
from graphlib import CycleError, TopologicalSorter

from repo.test_layers import FILES, SRC, tree_of

MODULES = {
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


def imported(path):
    """Yield what a file imports at any place, for types and inside functions too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_there_is_no_circle():
    graph = {name: MODULES.keys() & set(imported(path)) for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
