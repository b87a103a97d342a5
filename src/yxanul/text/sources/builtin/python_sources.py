"""The sources of the running interpreter's standard library: the domain "python"."""

from __future__ import annotations

import ast
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from yxanul.base.errors import YxanulError

MAX_CHARS = 8000  # of a piece; only a single line may be longer
LINE = re.compile(r"[^\n]*\n|[^\n]+")  # as the parser counts them; splitlines() knows more ends
# Tests, demos, other people's packages, and tables that are data rather than code.
SKIPPED_FOLDERS = {
    "__pycache__", "dist-packages", "encodings", "idle_test", "idlelib", "pydoc_data",
    "site-packages", "test", "tests", "turtledemo",
}  # fmt: skip


def library_folder() -> Path:
    """Return the folder of the standard library's sources."""
    return Path(sysconfig.get_paths()["stdlib"])


def modules() -> list[Path]:
    """Return the standard library's source files, sorted by their name below `library_folder()`.

    Raises YxanulError where the interpreter came without its sources.
    """
    folder = library_folder()
    found = {
        path.relative_to(folder): path
        for path in folder.rglob("*.py")
        if not SKIPPED_FOLDERS.intersection(path.relative_to(folder).parts[:-1])
    }
    if not found:
        raise YxanulError(
            "this Python has no standard library sources",
            got=f"no .py files in {folder}",
            hint="use another source of text than the built-in python",
        )
    return [path for _, path in sorted(found.items(), key=lambda item: item[0].as_posix())]


def documents(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (number from "0" up, text): the file cut at top-level definitions, nothing left out.

    Pieces have at most `MAX_CHARS` characters; a longer definition is cut at the statements
    inside it, and at lines where that is not enough. Raises UnicodeDecodeError or SyntaxError
    where the file is not text in the encoding that it declares.
    """
    with tokenize.open(path) as file:
        source = file.read()
    for number, piece in enumerate(pieces(source)):
        yield str(number), piece


def pieces(source: str) -> list[str]:
    """Return consecutive pieces of `source` that join to all of it."""
    lines = LINE.findall(source)
    body = _parsed(source)
    outer = _starts(body, lines)
    # The second and later statements inside each definition.
    inner = _starts([each for node in body for each in getattr(node, "body", [])[1:]], lines)
    cuts = _cut_short([0, len(lines)], (outer, inner, set(range(len(lines)))), lines)
    return ["".join(lines[start:end]) for start, end in pairwise(cuts) if start < end]


def _parsed(source: str) -> list[ast.stmt]:
    """Return the statements of a module; none if it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old habits in the source, not about us
            return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return []


def _cut_short(cuts: Sequence[int], borders: Sequence[set[int]], lines: Sequence[str]) -> list[int]:
    """Add cuts at the coarsest borders that make the pieces between `cuts` short enough."""
    result = [cuts[0]]
    for start, end in pairwise(cuts):
        if borders and sum(map(len, lines[start:end])) > MAX_CHARS:
            result += _cut_short(_cut_at(start, end, borders[0], lines), borders[1:], lines)[1:]
        else:
            result.append(end)
    return result


def _cut_at(start: int, end: int, borders: set[int], lines: Sequence[str]) -> list[int]:
    """Cut start..end at `borders`: each piece is as long as fits, or one longer unit."""
    cuts, chars, last = [start], 0, start
    for stop in [*(line for line in sorted(borders) if start < line < end), end]:
        unit = sum(map(len, lines[last:stop]))
        if chars and chars + unit > MAX_CHARS:
            cuts.append(last)
            chars = 0
        chars, last = chars + unit, stop
    return [*cuts, end]


def _starts(body: Sequence[ast.stmt], lines: Sequence[str]) -> set[int]:
    """Return the line (from 0) where each definition starts, with decorators and comments."""
    starts = set()
    for node in body:
        decorators = getattr(node, "decorator_list", [])
        line = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
        while line > 0 and lines[line - 1].lstrip().startswith("#"):
            line -= 1
        starts.add(line)
    return starts
