"""Functions that random pipelines call: pure, total over every row, and picklable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Row = Any
Batch = dict[str, list[Any]]


def digest(value: Any) -> int:
    """Return a small number that depends on everything a value holds, and not on its format."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None:
        return 1
    if isinstance(value, int):
        return value % 997
    if isinstance(value, str):
        value = [ord(character) for character in value]
    elif isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    folded = len(value)
    for part in value:
        folded = (folded * 31 + digest(part)) % 997
    return folded


def columns_of(rows: Sequence[Row]) -> Batch:
    """Return rows as columns, as ``datasets`` would: what a row lacks is None."""
    names: list[str] = []
    for row in rows:
        names += [name for name in row or {} if name not in names]
    return {name: [(row or {}).get(name) for row in rows] for name in names}


def rows_in(batch: Batch) -> list[Row]:
    """Return columns as rows; without a column there is no row."""
    count = len(next(iter(batch.values()), []))
    return [{name: values[at] for name, values in batch.items()} for at in range(count)]


@dataclass(frozen=True)
class Mark:
    """Give a row another column; no result for some rows, when ``drops`` is not 0."""

    column: str
    drops: int = 0

    def __call__(self, row: Row, index: int = 0) -> dict[str, Any] | None:
        """Return the column, or None."""
        made = digest(row) + index
        if self.drops and made % self.drops == 0:
            return None
        return {self.column: made}


@dataclass(frozen=True)
class MarkAll:
    """Give every row of a batch another column."""

    column: str

    def __call__(self, batch: Batch, indices: Sequence[int] = ()) -> Batch:
        """Return the column."""
        rows = rows_in(batch)
        numbers = indices or [0] * len(rows)
        return {
            self.column: [
                digest(row) + number for row, number in zip(rows, numbers, strict=bool(rows))
            ]
        }


@dataclass(frozen=True)
class Repeat:
    """Give every row of a batch as often as a list of counts says: more rows, fewer, or none."""

    times: tuple[int, ...]

    def __call__(self, batch: Batch, indices: Sequence[int] = ()) -> Batch:
        """Return all columns."""
        repeated = [
            row for row in rows_in(batch) for _ in range(self.times[digest(row) % len(self.times)])
        ]
        return {name: [row[name] for row in repeated] for name in batch}


@dataclass(frozen=True)
class Fold:
    """Make one row of a batch."""

    column: str

    def __call__(self, batch: Batch, indices: Sequence[int] = ()) -> Batch:
        """Return one row."""
        return {self.column: [digest(batch) + sum(indices)]}


@dataclass(frozen=True)
class Keep:
    """Keep some rows."""

    modulus: int

    def __call__(self, row: Row, index: int = 0) -> bool:
        """Return whether a row is kept."""
        return (digest(row) + index) % self.modulus != 0


@dataclass(frozen=True)
class KeepAll:
    """Keep some rows of a batch, by value and number."""

    modulus: int

    def __call__(self, batch: Batch, indices: Sequence[int]) -> list[bool]:
        """Return for each row whether it is kept."""
        rows = rows_in(batch) or [None] * len(indices)
        return [
            (digest(row) + number) % self.modulus != 0
            for row, number in zip(rows, indices, strict=True)
        ]
