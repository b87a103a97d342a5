"""What a YAML parser has against a text, in words for people who do not know how it parses."""

from __future__ import annotations

import re

import yaml
from yaml.reader import ReaderError

_BEGUN = "simple key|quoted scalar|scanning an? (anchor|alias)"
"""Contexts whose own beginning is what has to change."""
_SENTENCES = (
    (r"character '\\t' that cannot start", "a tab cannot indent or begin a value; use spaces"),
    (r"character '([@`%|>])' that cannot", r"text that begins with \1 has to stand in quotes"),
    (r"character (.*) that cannot start any token", r"\1 cannot begin a value; put it in quotes"),
    (r"could not find expected ':'", "a key without ': ' behind it"),
    (
        r"mapping values are not allowed here",
        "a ': ' where no key can stand: a space may be missing behind the ':' of the line above, a"
        " line may be indented otherwise than its neighbours, or text that holds ': ' lacks quotes",
    ),
    (r"sequence entries are not allowed here", "'- ' cannot stand here; a list begins a new line"),
    (r"mapping keys are not allowed here", "'? ' cannot stand here"),
    (r"unexpected end of stream", "a quoted text is not closed before the end of the file"),
    (r"unexpected document separator", "a quoted text is not closed before --- or ..."),
    (
        r"unknown escape character (.*)",
        r"\\ and \1 have no meaning in double quotes; use single quotes, or \\\\",
    ),
    (r"escape sequence of (\d+) hex", r"an escape in double quotes needs \1 hexadecimal digits"),
    (r"undefined alias '(.*)'", r"*\1 refers to an anchor &\1 that is not defined above"),
    (
        r"undefined tag handle|constructor for the tag",
        "tags (words that begin with !) are not read",
    ),
    (r"but found another document", "a second document (after ---); a recipe is one document"),
    (r"expected '<document start>'", "text that belongs to no key, such as a wrong indentation"),
    (r"content, but found '<stream end>'", "a [ or { is not closed before the end of the file"),
    (r"expected the node content, but found '(.*)'", "a value is missing before this"),
    (r"special characters are not allowed", "a control character, which YAML does not allow"),
    (
        r"expected <block end>, but found '-'",
        "an item of a list ('- ') that is not indented like the lines around it",
    ),
    (r"expected <block end>, but found '\?'", "a key that is not indented like the keys before it"),
    (
        r"expected <block end>, but found '(.*)'",
        "this belongs to nothing: it follows a value that is complete, or is indented otherwise"
        " than the lines before it",
    ),
    (r"alphabetic or numeric character", "& and * need a name behind them, or quotes around them"),
    (r"indentation indicator|chomping", "nothing but + or - can follow | or > on their line"),
    (r"a comment or a line break", "nothing can follow on this line but a comment"),
)


_ODD_LINES = (
    (r"<{7} |={7}$|>{7} ", "a conflict of git that is not resolved"),
    (
        r" *[^\S \t\r\n]",
        "an odd space, such as a non-breaking one, indents this line; retype the indentation",
    ),
    (r" *[\u2010-\u2015] ", "a dash where '- ', a hyphen, begins an item of a list"),
    (r" *[A-Za-z_][\w.]* = ", "'key = value' where YAML wants 'key: value'"),
)
"""What is wrong with a line that looks like this, if YAML stumbles over it or right behind it."""


def in_words(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """Return what is wrong with `text`, and where: `:line:column`, empty if nothing says it."""
    context = getattr(error, "context", None) or ""
    mark, begun = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), error.position - (before.rfind("\n") + 1)
    else:
        mark = begun if re.search(_BEGUN, context) and begun else mark
        line, column = (mark.line, mark.column) if mark else (-1, -1)
    for at, words in enumerate(text.split("\n")[: line + 1]):
        if at >= line - 1 and (odd := _odd_line(words)):
            return odd, f":{at + 1}:1"
    return _sentence(error, context, begun), f":{line + 1}:{column + 1}" if line >= 0 else ""


def _odd_line(line: str) -> str | None:
    return next((said for pattern, said in _ODD_LINES if re.match(pattern, line)), None)


def _sentence(error: yaml.YAMLError, context: str, begun: yaml.Mark | None) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if begun and (match := re.search(r"flow (sequence|mapping)", context)):
        what, closed = {"sequence": ("list", "]"), "mapping": ("mapping", "}")}[match[1]]
        since = f"the {what} that begins at line {begun.line + 1}, column {begun.column + 1}"
        return f"a ',' or '{closed}' is missing in {since}"
    if match := re.search(r"duplicate anchor '(.*)'", context):
        return f"the anchor &{match[1]} is defined twice"
    for pattern, sentence in _SENTENCES:
        if match := re.search(pattern, problem):
            return match.expand(sentence)
    return " ".join(problem.split()).removeprefix("found ")
