"""All messages in one file, messages.txt, to be read through: errors, warnings and news.

After a change of a message: python tests/repo/test_messages.py
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).parent / "messages.txt"
ERRORS = {"YxanulError", "RecipeError", "GateFailed", "Interrupted", "Misfit"}
NEWS = {"say", "warn"}
KEYWORDS = ("got", "expected", "hint")


def said(node: ast.expr) -> str | None:
    """Return the text of an expression, {name} for what is filled in; None if it has no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            f"{{{ast.unparse(value.value)}}}"
            if isinstance(value, ast.FormattedValue)
            else said(value) or ""
            for value in node.values
        )
    return None


def messages_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, message) of each error and each line of news that a file has as text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name not in ERRORS | NEWS:
            continue
        texts = [said(node.args[0])]
        for keyword in node.keywords:
            if keyword.arg in KEYWORDS and (text := said(keyword.value)) is not None:
                texts.append(text if keyword.arg == "hint" else f"{keyword.arg} {text}")
        if any(texts):
            yield node.lineno, "; ".join(text for text in texts if text)


def snapshot() -> str:
    """Return the messages of all files, each under the name of its file."""
    out = []
    for path in sorted((ROOT / "src" / "yxanul").rglob("*.py")):
        if lines := [f"  {text}" for _, text in sorted(messages_of(path))]:
            out += [str(path.relative_to(ROOT / "src" / "yxanul")), *lines, ""]
    return "\n".join(out)


def test_the_snapshot_has_every_message():
    hint = "a message changed: read it once more, then run python tests/repo/test_messages.py"
    assert SNAPSHOT.read_text() == snapshot(), hint


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot())
