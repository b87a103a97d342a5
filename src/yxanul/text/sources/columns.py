"""Which columns of a row make the text, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from yxanul.base.errors import YxanulError, near_miss
from yxanul.text.config import ColumnSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.template import Pieces, parse_template

Row: TypeAlias = Mapping[str, Any]

LIKELY_NAMES = ("text", "content")
SAMPLE_ROWS = 100


class RowProblem(Exception):
    """A row that gives no text; the cause is one of CAUSES."""

    def __init__(self, cause: str):
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Columns:
    """The way from a row to its text and id; `note` tells of a guess."""

    pieces: Pieces
    id_column: str | None = None
    note: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are needed, each once."""
        names = [name for _, name in self.pieces if name is not None]
        return list(dict.fromkeys([*names, self.id_column] if self.id_column else names))

    def document(self, row: Row, source: str, number: str) -> Document | Dropped:
        """Return the document of a row; `number` names it if no column does."""
        try:
            text = self._text(row).replace("\r\n", "\n")
            text.encode()
        except RowProblem as problem:
            return Dropped(problem.cause, number)
        except UnicodeError:
            return Dropped("broken_utf8", number)
        return Document(self._id(row, number), source, text)

    def _text(self, row: Row) -> str:
        in_template = any(literal for literal, _ in self.pieces) or len(self.pieces) > 1
        texts = []
        for literal, name in self.pieces:
            texts.append(literal)
            if name is not None:
                texts.append(_render(row.get(name), in_template))
        return "".join(texts)

    def _id(self, row: Row, number: str) -> str:
        value = row.get(self.id_column) if self.id_column else None
        return number if value is None else str(value).encode(errors="replace").decode()


def choose_columns(
    settings: ColumnSettings,
    names: Sequence[str],
    rows: Callable[[], Sequence[Row]],
    where: str,
    id_column: str | None = None,
) -> Columns:
    """Return the columns that `settings` name, or a guess from the first rows.

    `names` are the columns there are; a column that is not there is a YxanulError.
    """
    note = None
    if settings.template is not None:
        pieces = parse_template(settings.template)
    elif settings.text_column is not None:
        pieces = (("", settings.text_column),)
    else:
        guess = _guess(names, rows(), where)
        pieces = (("", guess),)
        note = f"text is taken from the column '{guess}', a guess out of: {_listed(names)}"
    columns = Columns(pieces, id_column, note)
    for name in columns.names:
        if name not in names:
            hint = near_miss(name, names)
            raise YxanulError(f"{where} has no column '{name}'", found=_listed(names), hint=hint)
    return columns


def _guess(names: Sequence[str], rows: Sequence[Row], where: str) -> str:
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    for name in LIKELY_NAMES:
        if name in values and any(map(_is_text, values[name])):
            return name
    texts = [name for name in names if values[name] and all(map(_is_text, values[name]))]
    chats = [name for name in names if values[name] and all(map(_is_chat, values[name]))]
    if chats or len(texts) == 1:
        return (chats or texts)[0]
    if not texts:
        raise YxanulError(
            f"{where} has no column of text",
            found=_listed(names),
            hint="name it with text_column, or join several with template",
        )
    return max(texts, key=lambda name: sum(map(len, values[name])))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no column at all"


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _is_chat(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(message, dict) and _speaker(message) for message in value)


def _speaker(message: Row) -> str | None:
    return message.get("role") or message.get("from")


def _render(value: Any, in_template: bool) -> str:
    """Return a value as text; inside a template numbers are text as well."""
    if isinstance(value, str):
        return value
    if value is None:
        raise RowProblem("missing_column")
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return "\n\n".join(_paragraph(item) for item in value)
    if in_template and isinstance(value, int | float):
        return str(value)
    raise RowProblem("not_text")


def _paragraph(item: Any) -> str:
    """Return one message of a chat as "role: content"; plain strings stay as they are."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict) or not (speaker := _speaker(item)):
        raise RowProblem("not_text")
    content = item.get("content") if "content" in item else item.get("value")
    return f"{speaker}: {_content(content)}"


def _content(content: Any) -> str:
    """Return a message's content: text, nothing, or a list of blocks that hold text."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise RowProblem("not_text")
    return "\n".join(_block(block) for block in content)


def _block(block: Any) -> str:
    text = block
    if isinstance(block, dict):
        text = block.get("text") or block.get("value")
    if not isinstance(text, str):
        raise RowProblem("not_text")
    return text
