"""YAML syntax errors, in words that do not require knowledge of the parser."""

from __future__ import annotations

import re

import yaml
from yaml.reader import ReaderError

_BEGUN = "simple key|quoted scalar|scanning an? (anchor|alias)"
"""Contexts whose start, not their end, is the position of the mistake."""
_SENTENCES = (
    (r"character '\\t' that cannot start", "a tab cannot indent or begin a value; use spaces"),
    (r"character '(.)' that cannot", r"text that begins with \1 must be quoted"),
    (r"could not find expected ':'", "a key is not followed by ': '"),
    (
        r"mapping values are not allowed here",
        "unexpected ': '; the line above may lack a space after its ':', a line may be indented"
        " differently from its neighbours, or text that contains ': ' may lack quotes",
    ),
    (r"unexpected end of stream|document separator", "a quoted string is not closed"),
    (r"second occurrence", "an anchor (&name) is defined twice"),
    (r"alphabetic or numeric character", "& and * must be followed by a name, or quoted"),
    (
        r"unknown escape character (.*)",
        r"unknown escape character \1 in double quotes; use single quotes, or \\\\",
    ),
    (r"undefined alias '(.*)'", r"*\1 refers to an anchor &\1 that is not defined above"),
    (r"another document", "a second document (after ---); a recipe must be a single document"),
    (r"content, but found '<stream end>'", "a [ or { is not closed before the end of the file"),
    (r"special characters are not allowed", "a control character, which YAML does not allow"),
    (
        r"expected (<block end>|'<document start>')|not allowed here",
        "unexpected text: it follows a complete value, or is indented differently from the lines"
        " before it",
    ),
)
_ODD_LINES = (
    (r"<{7} |={7}$|>{7} ", "an unresolved git conflict"),
    (r" *[^\S \t\r\n]", "this line is indented with a non-ASCII space; retype the indentation"),
    (r" *[\u2010-\u2015] ", "a dash instead of a hyphen; list items begin with '- '"),
    (r" *[A-Za-z_][\w.]* = ", "'key = value' instead of 'key: value'"),
)
"""Likely causes, by pattern, for lines on or just before the position of an error."""


def in_words(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """Return what is wrong with `text`, and the position as `:line:column`, or "" if unknown."""
    context = getattr(error, "context", None) or ""
    mark, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), error.position - (before.rfind("\n") + 1)
    else:
        mark = begun if re.search(_BEGUN, context) and begun else mark
        line, column = (mark.line, mark.column) if mark else (-1, -1)
    for at, words in enumerate(text.split("\n")[: line + 1]):
        causes = (cause for pattern, cause in _ODD_LINES if re.match(pattern, words))
        if at >= line - 1 and (odd := next(causes, None)):
            return odd, f":{at + 1}:1"
    return _sentence(error, context, begun), f":{line + 1}:{column + 1}" if line >= 0 else ""


def _sentence(error: yaml.YAMLError, context: str, begun: yaml.Mark | None) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if begun and (match := re.search(r"flow (sequence|mapping)", context)):
        what, closed = {"sequence": ("list", "]"), "mapping": ("mapping", "}")}[match[1]]
        since = f"the {what} that begins at line {begun.line + 1}, column {begun.column + 1}"
        return f"a ',' or '{closed}' is missing in {since}"
    for pattern, sentence in _SENTENCES:
        if match := re.search(pattern, problem):
            return match.expand(sentence)
    return " ".join(problem.split()).removeprefix("found ")
