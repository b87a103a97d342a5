"""Conversion of rows to documents, by columns that are named or guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from yxanul.base.chat import NoChat, render_chat, speaker_of
from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.text.config import ColumnSettings, Pieces, parse_template
from yxanul.text.documents import Document, Dropped

Row: TypeAlias = Mapping[str, Any]

LIKELY_NAMES = ("text", "content")
SAMPLE_ROWS = 100


class RowProblem(Exception):
    """A row without text; the cause is a key of CAUSES."""

    def __init__(self, cause: str):
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Columns:
    """Mapping from a row to its text, id and scores; `note` reports a guessed column."""

    pieces: Pieces
    id_column: str | None = None
    note: str | None = None
    score_columns: tuple[str, ...] = ()
    chat: str = "plain"

    @property
    def text_names(self) -> list[str]:
        """Columns required for the text, without repetition."""
        return list(dict.fromkeys(name for _, name in self.pieces if name is not None))

    @property
    def names(self) -> list[str]:
        """All columns to read, without repetition."""
        others = [self.id_column] if self.id_column else []
        return list(dict.fromkeys([*self.text_names, *others, *self.score_columns]))

    @property
    def key(self) -> str:
        """Key of this mapping, for fingerprints."""
        return repr((self.pieces, self.id_column, self.score_columns, self.chat))

    def document(self, row: Row, number: str) -> Document | Dropped:
        """Return the document of a row; `number` is its id without an id column."""
        try:
            text = self._text(row)
            if "\r" in text:
                text = text.replace("\r\n", "\n")
            if not text.isascii():
                text.encode()  # fails for a lone surrogate
        except RowProblem as problem:
            return Dropped(problem.cause, number)
        except UnicodeError:
            return Dropped("broken_utf8", number)
        name, scores = number, {}
        if self.id_column and (value := row.get(self.id_column)) is not None:
            name = str(value).encode(errors="replace").decode()
        if self.score_columns:
            scores = {c: row[c] for c in self.score_columns if row.get(c) is not None}
        return Document(name, text, scores)

    def _text(self, row: Row) -> str:
        pieces = self.pieces
        if len(pieces) == 1 and not pieces[0][0]:
            value = row.get(pieces[0][1] or "")
            return value if isinstance(value, str) else _render(value, self.chat)
        texts = []
        for literal, name in pieces:
            value = "" if name is None else row.get(name)
            if isinstance(value, int | float):  # in a template, numbers are text as well
                value = str(value)
            texts.append(literal + (value if isinstance(value, str) else _render(value, self.chat)))
        return "".join(texts)


def choose_columns(
    settings: ColumnSettings, names: Sequence[str], rows: Sequence[Row], where: str
) -> Columns:
    """Return the columns given by `settings`, or a guess from some rows.

    Raises YxanulError if a column is not in `names`, the available columns.
    """
    note = None
    if (pieces := named_pieces(settings)) is None:
        guess = guess_column(names, rows)
        if guess is None:
            nested = any(isinstance(value, Mapping) for row in rows for value in row.values())
            raise YxanulError(
                f"{where} has no column that holds text",
                got=_listed(names),
                hint="move the nested text to a top-level column first, such as with jq"
                if nested
                else "name it with text_column, or join several with template",
            )
        pieces = (("", guess),)
        note = f"text is taken from the column '{guess}', guessed from: {_listed(names)}"
    id_column, scores = getattr(settings, "id_column", None), tuple(settings.score_columns)
    columns = Columns(pieces, id_column, note, scores, settings.chat)
    for name in columns.names:
        if name not in names:
            hint = did_you_mean(name, names)
            raise YxanulError(f"{where} has no column '{name}'", got=_listed(names), hint=hint)
    return columns


def named_pieces(settings: ColumnSettings) -> Pieces | None:
    """Return the template or text column of the settings; None if it must be guessed."""
    if settings.template is not None:
        return parse_template(settings.template)
    return (("", settings.text_column),) if settings.text_column is not None else None


def guess_column(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    """Return the column that most likely holds the text; None if there is none."""
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    written = {name: sum(_is_text(v) or _is_chat(v) for v in values[name]) for name in names}
    # Ignore columns that only few rows have, such as those of a single metadata file.
    enough = max(written.values(), default=0) / 2
    names = [name for name in names if written[name] and written[name] >= enough]
    for name in LIKELY_NAMES:
        if name in names and any(map(_is_text, values[name])):
            return name
    chats = [name for name in names if all(map(_is_chat, values[name]))]
    texts = [name for name in names if all(map(_is_text, values[name]))]
    if chats or len(texts) == 1:
        return (chats or texts)[0]
    return max(texts, key=lambda name: sum(map(len, values[name])), default=None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no columns"


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _is_chat(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(message, dict) and speaker_of(message) for message in value)


def _render(value: Any, chat: str) -> str:
    """Return the text of a value that is not a string."""
    if value is None:
        raise RowProblem("missing_column")
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, list):
        raise RowProblem("not_text")
    try:
        if chat != "plain" and any(isinstance(item, Mapping) for item in value):
            return render_chat(value, chat)
        # One message of a chat as "role: content"; plain strings stay as they are.
        items = (one if isinstance(one, str) else render_chat([one], "plain") for one in value)
        return "\n\n".join(items)
    except (NoChat, YxanulError):
        raise RowProblem("not_text") from None
