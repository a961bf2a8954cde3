"""Record batches as lines of strict JSON, and the lines as rows again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from fdss.backend import Row
from fdss.errors import PageCut, PageForeign
from fdss.rows import RowMaker

from . import names
from .columns import Dialect
from .plain import BYTES_TAG, Plain
from .tagged import Tagged, restored, restored_fields
from .texts import SCANNED_BYTES, ColumnWriter, Texts, joined_lines, of_lists

_DIALECTS: dict[str, Dialect] = {names.PLAIN: Plain(), names.TAGGED: Tagged()}

# Every tag begins so. A quote inside a string is written \" and never matches.
_TAG_START = b'{"__'

# A reader that splits text, not bytes, takes these for line ends, as existing clients do.
_TEXT_LINE_ENDS = {
    "\u0085".encode(): rb"\u0085",
    "\u2028".encode(): rb"\u2028",
    "\u2029".encode(): rb"\u2029",
}


class BatchEncoder:
    """Encodes batches of one schema in one dialect, ``names.PLAIN`` or ``names.TAGGED``.

    Raises:
        UncarriableValue: A column's type has no form; the message names the column.
    """

    def __init__(self, schema: pa.Schema, dialect: str) -> None:
        self._dialect = dialect
        self._writers = [ColumnWriter(field, _DIALECTS[dialect]) for field in schema]

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Return one line a row, each with ``\\n`` at its end.

        Raises:
            UncarriableValue: A value has no form; the message names the column.
        """
        if not batch.num_rows or not self._writers:
            return b"{}\n" * int(batch.num_rows)
        short: dict[int, bytes] = {}
        others: dict[int, Texts] = {}
        for at, (writer, array) in enumerate(zip(self._writers, batch.columns, strict=True)):
            if writer.is_short:
                short[at] = writer.list_text(array)
            else:
                others[at] = writer.texts(array)
        texts = others | dict(
            zip(short, of_lists(list(short.values()), batch.num_rows), strict=True)
        )
        lines = joined_lines({name: texts[at] for at, name in enumerate(batch.schema.names)})
        return _without_text_line_ends(lines) if self._dialect == names.PLAIN else lines


def encode_batch(batch: pa.RecordBatch, dialect: str) -> bytes:
    """Return the rows of one batch as lines of JSON.

    Args:
        dialect: ``names.PLAIN`` or ``names.TAGGED``.

    Raises:
        UncarriableValue: A type or value has no form; the message names the column.
    """
    return BatchEncoder(batch.schema, dialect).encode(batch)


def decode_lines(lines: Sequence[bytes], dialect: str = names.TAGGED) -> list[Row]:
    """Return the rows of many lines; quicker than line by line.

    Args:
        lines: One row each, split on ``\\n`` and on nothing else.
        dialect: ``names.PLAIN`` or ``names.TAGGED``, as the response's ``FDSS-Types`` says.

    Raises:
        PageCut: A line is not whole.
        PageForeign: A line is JSON, but not a row of the dialect.
    """
    try:
        rows: list[Any] = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError as exc:
        raise PageCut(f"A line of rows is not whole JSON: {exc}.") from exc
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        raise PageForeign("A line of rows holds something else than one JSON object.")
    restore = restored_fields if dialect == names.TAGGED else _with_bytes
    return [
        row if line.find(_TAG_START, 1) < 0 else _restored_row(row, restore)
        for row, line in zip(rows, lines, strict=True)
    ]


class RowsChunk:
    """Rows that arrived as JSON."""

    def __init__(self, rows: list[Row], maker: RowMaker) -> None:
        self._rows = rows
        self._maker = maker

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[Row]:
        """Return the rows as Python values, equal to what ``datasets`` gives for them."""
        return self._maker.finished(self._rows)


def _without_text_line_ends(lines: bytes) -> bytes:
    if lines.isascii() or not _may_hold_line_ends(lines):
        return lines
    for end, escape in _TEXT_LINE_ENDS.items():
        lines = lines.replace(end, escape)
    return lines


def _may_hold_line_ends(lines: bytes) -> bool:
    """Look for C2 85 and E2 80 A8..A9, several times faster than ``bytes.find`` does."""
    held = np.frombuffer(lines, dtype=np.uint8)
    for begin in range(0, len(held), SCANNED_BYTES):
        leads = np.flatnonzero((held[begin : begin + SCANNED_BYTES] & 0xDF) == 0xC2) + begin
        # Text is whole UTF-8 and ends with a line end: two bytes follow the lead of three.
        second, third = held[leads + 1], held.take(leads + 2, mode="clip")
        if ((second == 0x85) | ((second == 0x80) & ((third & 0xFE) == 0xA8))).any():
            return True
    return False


def _restored_row(row: Row, restore: Callable[[Row], Row]) -> Row:
    try:
        return restore(row)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        raise PageForeign(f"A row holds a tag that cannot be read: {str(exc)[:200]}.") from exc
    except (RuntimeError, pa.ArrowException) as exc:
        # Of these are values nested too deeply, and what Arrow has not implemented.
        raise PageForeign(f"A row holds a value that cannot be read: {str(exc)[:200]}.") from exc


def _with_bytes(value: Any) -> Any:
    """Return a plain value with its bytes restored, the one tag of the plain dialect."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get(BYTES_TAG), str):
            return restored(value)
        return {name: _with_bytes(field) for name, field in value.items()}
    if isinstance(value, list) and not {dict, list}.isdisjoint(map(type, value)):
        return [_with_bytes(element) for element in value]
    return value
