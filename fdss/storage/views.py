"""A view: ranges of rows of some tables, one after another, as one run of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .prefetch import Run
from .tables import Table

Numbers = NDArray[np.int64]

_PART_SHIFT = 40


@dataclass(frozen=True)
class Span:
    """Consecutive rows inside one stored batch.

    Attributes:
        key: Names the stored batch within the view.
        begin: First row, counted from the first of the batch.
        rows: Number of rows.
        is_whole: Whether they are all rows of the batch.
    """

    key: int
    begin: int
    rows: int
    is_whole: bool


class View:
    """Ranges of rows of some tables, in order. Nothing is copied, whatever they select."""

    def __init__(self, parts: Sequence[tuple[Table, range]]) -> None:
        """Join ``parts``: tables of one schema, each with a range of step 1."""
        self._parts = tuple(parts)
        counts = np.array([len(rows) for _, rows in parts], np.int64)
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the rows."""
        return self._parts[0][0].schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return the tables, without repetition."""
        return tuple({id(table): table for table, _ in self._parts}.values())

    @property
    def whole(self) -> Table | None:
        """Return the table that the view shows in whole, if it does."""
        if len(self._parts) == 1 and len(self) == len(self._parts[0][0]):
            return self._parts[0][0]
        return None

    @property
    def row_bytes(self) -> float:
        """Return the average bytes of a row, as they lie on disk."""
        sizes = [table.row_bytes * len(rows) for table, rows in self._parts]
        return sum(sizes) / max(1, len(self))

    @property
    def is_zero_copy(self) -> bool:
        """Tell whether batches are views of their files."""
        return all(table.is_zero_copy for table in self.tables)

    def batch(self, key: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return the stored batch that ``located`` or ``spans`` named.

        Args:
            columns: Columns to read, in this order; None for all.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        part, number = divmod(key, 1 << _PART_SHIFT)
        return self._parts[part][0].batch(number, columns)

    def run(self, key: int, begin: int, end: int) -> Run:
        """Return consecutive rows of a stored batch that ``located`` or ``spans`` named."""
        part, number = divmod(key, 1 << _PART_SHIFT)
        return Run(self._parts[part][0], number, begin, end)

    def row(self, row: int) -> pa.RecordBatch:
        """Return one row, without a look at those beside it.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        [key], [offset] = self.located(np.array([row], np.int64))
        part, number = divmod(int(key), 1 << _PART_SHIFT)
        return self._parts[part][0].row(number, int(offset))

    def messages(self, spans: Sequence[Span]) -> pa.Buffer | None:
        """Return whole stored batches of one part, in order, as the bytes that stand in a file.

        Returns:
            None where they do not stand there so; see ``Table.joined_messages``.
        """
        part, number = divmod(spans[0].key, 1 << _PART_SHIFT)
        return self._parts[part][0].joined_messages(number, number + len(spans))

    def located(self, rows: Numbers) -> tuple[Numbers, Numbers]:
        """Return the key of the stored batch of each row, and the row's place in it."""
        if len(self._parts) == 1:
            return self._located_in(0, rows)
        keys, offsets = np.empty_like(rows), np.empty_like(rows)
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.unique(parts).tolist():
            inside = parts == part
            keys[inside], offsets[inside] = self._located_in(part, rows[inside])
        return keys, offsets

    def spans(self, rows: range) -> Iterator[Span]:
        """Yield where consecutive rows lie, one stored batch at a time."""
        for part, (table, taken) in enumerate(self._parts):
            start = int(self._starts[part])
            begin = taken.start + max(rows.start - start, 0)
            end = taken.start + min(rows.stop - start, len(taken))
            number = int(np.searchsorted(table.first_rows, begin, side="right")) - 1
            while begin < end:
                first, after = (int(row) for row in table.first_rows[number : number + 2])
                stop = min(after, end)
                is_whole = begin == first and stop == after
                yield Span((part << _PART_SHIFT) + number, begin - first, stop - begin, is_whole)
                begin, number = stop, number + 1

    def _located_in(self, part: int, rows: Numbers) -> tuple[Numbers, Numbers]:
        table, taken = self._parts[part]
        local = rows - (self._starts[part] - taken.start)
        numbers = np.searchsorted(table.first_rows, local, side="right") - 1
        return numbers + (part << _PART_SHIFT), local - table.first_rows[numbers]
