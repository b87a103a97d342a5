"""Rows of arrow tables as plain Python values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from yxanul.text.sources.columns import Row

if TYPE_CHECKING:
    import pyarrow as pa

# Few, since a row may hold a whole book.
ROWS_AT_ONCE = 64


def rows_of(table: pa.Table | pa.RecordBatch) -> Iterator[Row | None]:
    """Yield the rows of a table; None for a row whose text is broken UTF-8."""
    try:
        yield from table.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for number in range(table.num_rows):
        try:
            yield table.slice(number, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None


def text_like(schema: pa.Schema) -> list[str]:
    """Return the columns that could hold text or a chat: never numbers, images or sounds."""
    import pyarrow.types as types

    def could(kind: pa.DataType) -> bool:
        if types.is_dictionary(kind):
            return could(kind.value_type)
        if types.is_list(kind) or types.is_large_list(kind):
            return could(kind.value_type) or types.is_struct(kind.value_type)
        texts = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
        return any(is_kind(kind) for is_kind in texts)

    return [field.name for field in schema if could(field.type)]
