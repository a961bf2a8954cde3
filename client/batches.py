"""Rows as columns, and columns as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fdss.backend import Row

Columns = tuple[str, ...]


def batch_of(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return rows as columns, in order of appearance; a row without a column gives None.

    A row that is None has no columns.
    """
    rows = list(rows)
    names = {name: None for row in rows for name in row or ()}
    return {name: [row.get(name) if row else None for row in rows] for name in names}


def rows_of(batch: Mapping[str, Any], rows: int = 0) -> list[Row]:
    """Return columns of one length as rows; where there are no columns, ``rows`` empty rows."""
    if not batch:
        return [{} for _ in range(rows)]
    names = list(batch)
    return [dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def without(row: Row, columns: Columns) -> Row:
    """Return a row without some columns; one that is None has none."""
    if not (row and columns):
        return row or {}
    return {name: value for name, value in row.items() if name not in columns}
