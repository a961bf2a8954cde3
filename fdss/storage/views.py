"""A view: ranges of rows of some tables, one after another, as one run of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .columns import Runs
from .contents import damage_told
from .ranges import FileRange
from .stamps import Place
from .stored_rows import StoredRows
from .tables import Table, damaged

Numbers = NDArray[np.int64]

_PART_SHIFT = 40
_HELD_BYTES = 1 << 20


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
    def is_copyable(self) -> bool:
        """Tell whether rows can be copied out of their batches without the others."""
        return all(table.shapes is not None for table in self.tables)

    @property
    def is_guarded(self) -> bool:
        """Tell whether a batch that is read as a whole is a copy, and no map of its file."""
        return any(table.is_guarded for table in self.tables)

    def place(self, key: int) -> Place:
        """Return where the message of a stored batch lies."""
        table, number = self._stored(key)
        return table.place(number)

    def batch(self, key: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return the stored batch that ``located`` or ``spans`` named, read as a whole.

        Args:
            columns: Columns that are wanted, in this order; None for all.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        table, number = self._stored(key)
        return table.batch(number, columns)

    def copied(
        self,
        keys: Numbers,
        begins: Numbers,
        counts: Numbers,
        columns: Sequence[str] | None = None,
        **reading: bool,
    ) -> pa.RecordBatch:
        """Return runs of rows of stored batches, one after another, as ``StoredRows.read`` does.

        Args:
            keys: Batches that ``located`` or ``spans`` named.
            columns: Columns to read, in this order; None for all.

        Raises:
            ContentChanged: A file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        known, batches = np.unique(keys, return_inverse=True)
        stored = StoredRows([self._stored(key) for key in known.tolist()], columns)
        return stored.read(Runs(batches, begins, counts), **reading)

    def each(self, rows: Numbers) -> Iterator[pa.RecordBatch]:
        """Yield rows one by one, all of whose values can be read; about a mebibyte is held.

        Raises:
            ContentChanged: A file is not the file that was opened.
            DatasetDamaged: A row cannot be read.
        """
        at_once = max(1, int(_HELD_BYTES // max(1, self.row_bytes)))
        for begin in range(0, len(rows), at_once):
            keys, offsets = self.located(rows[begin : begin + at_once])
            held = self.copied(keys, offsets, np.ones_like(keys)) if self.is_copyable else None
            for at, (key, offset) in enumerate(zip(keys.tolist(), offsets.tolist(), strict=True)):
                table, number = self._stored(key)
                if held is not None:
                    row = held.slice(at, 1)
                else:
                    # Values of other rows are not looked at.
                    row = table.batch(number, is_checked=False).slice(offset, 1)
                with damage_told(damaged(table.place(number))):
                    row.validate(full=True)
                yield row

    def messages(self, spans: Sequence[Span]) -> FileRange | None:
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
        for part, table, begin, end in self._ranges(rows):
            number = int(np.searchsorted(table.first_rows, begin, side="right")) - 1
            while begin < end:
                first, after = (int(row) for row in table.first_rows[number : number + 2])
                stop = min(after, end)
                is_whole = begin == first and stop == after
                yield Span((part << _PART_SHIFT) + number, begin - first, stop - begin, is_whole)
                begin, number = stop, number + 1

    def partial_rows(self, rows: range) -> int:
        """Return how many of some consecutive rows are of batches of which others are not."""
        total = 0
        for _, table, begin, end in self._ranges(rows):
            first = int(np.searchsorted(table.first_rows, begin))
            last = int(np.searchsorted(table.first_rows, end, side="right")) - 1
            whole = int(table.first_rows[last] - table.first_rows[first]) if first < last else 0
            total += max(end - begin, 0) - whole
        return total

    def _ranges(self, rows: range) -> Iterator[tuple[int, Table, int, int]]:
        """Yield of each part its number, its table, and the rows of it that are among ``rows``."""
        for part, (table, taken) in enumerate(self._parts):
            start = int(self._starts[part])
            begin = taken.start + max(rows.start - start, 0)
            end = taken.start + min(rows.stop - start, len(taken))
            yield part, table, begin, end

    def _stored(self, key: int) -> tuple[Table, int]:
        part, number = divmod(key, 1 << _PART_SHIFT)
        return self._parts[part][0], number

    def _located_in(self, part: int, rows: Numbers) -> tuple[Numbers, Numbers]:
        table, taken = self._parts[part]
        local = rows - (self._starts[part] - taken.start)
        numbers = np.searchsorted(table.first_rows, local, side="right") - 1
        return numbers + (part << _PART_SHIFT), local - table.first_rows[numbers]
