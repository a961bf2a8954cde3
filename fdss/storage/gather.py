"""Rows from anywhere as one record batch, a column at a time.

Rows are never touched one by one in Python. Runs of neighbours are copied out of their files, or
of stored batches that can only be read as a whole; rows that are scattered are copied in stored
order, and put into the order that is wanted in one call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .ranges import FileRange
from .schemas import has_views
from .views import Span, View

Numbers = NDArray[np.int64]

# A copy costs as much as some rows or bytes that nobody asked for.
_MIN_GAP_ROWS = 4
_GAP_BYTES = 1024
_MIN_RUN_ROWS = 4
_LARGE_ROW_BYTES = 4096
# Arrow takes a column of a batch apart in a fifth of the time; in more memory it is no quicker.
_WHOLE_BYTES = 4 << 20
_KEPT_BATCHES = 4
_KEPT_BYTES = 8 << 20


class BatchReader:
    """Reads the stored batches of a view; for one iteration, one thread.

    It holds what it read as a whole, the latest few batches, and nothing else.
    """

    def __init__(
        self,
        view: View,
        columns: tuple[str, ...] | None,
        is_unsendable: Callable[[pa.RecordBatch], bool] | None = None,
    ) -> None:
        """Read a view.

        Args:
            columns: Columns to read, in this order; None for all.
            is_unsendable: Tells which stored batches must not go out as they stand on disk; None
                if all may. It is shown them without their values of bytes.
        """
        self._view = view
        self._is_unsendable = is_unsendable
        self._columns = None if columns is None else list(columns)
        self._is_copyable = view.is_copyable
        self._can_take = not any(has_views(field.type) for field in view.schema)
        # Of rows this large, one more copy costs more than runs of one row.
        self._min_run_rows = 1 if view.row_bytes >= _LARGE_ROW_BYTES else _MIN_RUN_ROWS
        self._gap_rows = max(_MIN_GAP_ROWS, int(_GAP_BYTES / max(1, view.row_bytes)))
        self._latest: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    def stored(self, rows: range, limit: int) -> Iterator[pa.RecordBatch]:
        """Yield consecutive rows, ``limit`` rows at most and of one stored batch each."""
        for span in self._view.spans(rows):
            yield from self._slices_of(span, limit)

    def pieces(self, rows: range, limit: int) -> Iterator[FileRange | pa.RecordBatch]:
        """Yield consecutive rows: whole stored batches as they stand in a file, others copied.

        Args:
            limit: Most rows of a copy; batches that stand in a file are joined up to as many
                rows, one at least.
        """
        for spans in _runs(self._view.spans(rows), limit):
            joined = self._view.messages(spans) if self._is_sendable(spans) else None
            if joined is not None:
                yield joined
                continue
            for span in spans:
                yield from self._slices_of(span, limit)

    def _is_sendable(self, spans: list[Span]) -> bool:
        if not spans[0].is_whole or self._is_unsendable is None:
            return spans[0].is_whole
        return not any(self._is_unsendable(self._bare(span)) for span in spans)

    def _bare(self, span: Span) -> pa.RecordBatch:
        """Return a whole stored batch without its values of bytes, where they can be left out."""
        if not self._is_copyable:
            return self._batch(span.key)
        return self._view.copied(*_run(span.key, span.begin, span.rows), is_bare=True)

    def _slices_of(self, span: Span, limit: int) -> Iterator[pa.RecordBatch]:
        reads_whole = self._reads_whole(span)
        for begin in range(span.begin, span.begin + span.rows, limit):
            rows = min(limit, span.begin + span.rows - begin)
            if reads_whole:
                yield self._batch(span.key).slice(begin, rows)
            else:
                run = _run(span.key, begin, rows)
                yield self._view.copied(*run, columns=self._columns)
        self._latest.pop(span.key, None)

    def _reads_whole(self, span: Span) -> bool:
        """Tell whether rows are best had of their whole batch."""
        if not (self._is_copyable and self._view.is_guarded):
            return True
        place = self._view.place(span.key)
        columns = len(self._view.schema) if self._columns is None else len(self._columns)
        is_most = 2 * columns >= len(self._view.schema) and 2 * span.rows >= place.rows
        return is_most and place.length <= _WHOLE_BYTES

    def gathered(self, rows: Numbers) -> pa.RecordBatch:
        """Return the given rows, in the given order, as one batch.

        Args:
            rows: int64, 1 or more rows of the view, in any order, also repeated.
        """
        gathered = self._gathered(*self._view.located(rows))
        self._give_back()
        return gathered

    def _gathered(self, keys: Numbers, offsets: Numbers) -> pa.RecordBatch:
        starts = _starts((np.diff(keys) != 0) | (np.diff(offsets) != 1))
        is_kept = self._is_copyable or len(np.unique(keys)) <= _KEPT_BATCHES
        is_run = len(starts) * self._min_run_rows <= len(keys) or len(starts) == 1
        if not self._can_take or (is_kept and is_run):
            return self._read(keys[starts], offsets[starts], np.diff(starts, append=len(keys)))
        order = np.lexsort((offsets, keys))
        keys, offsets = keys[order], offsets[order]
        starts = _starts((np.diff(keys) != 0) | (np.diff(offsets) > self._gap_rows))
        lows = offsets[starts]
        counts = np.diff(starts, append=len(keys))
        sizes = offsets[starts + counts - 1] - lows + 1
        joined = self._read(keys[starts], lows, sizes)
        wanted = np.empty_like(offsets)
        wanted[order] = offsets + np.repeat(np.cumsum(sizes) - sizes - lows, counts)
        if len(joined) == len(wanted) and np.array_equal(wanted, np.arange(len(wanted))):
            return joined
        return joined.take(pa.array(wanted))

    def _read(self, keys: Numbers, begins: Numbers, counts: Numbers) -> pa.RecordBatch:
        """Return runs of rows of stored batches, one after another."""
        if self._is_copyable:
            return self._view.copied(keys, begins, counts, self._columns, is_scattered=True)
        runs = zip(keys.tolist(), begins.tolist(), counts.tolist(), strict=True)
        slices = [self._batch(key).slice(begin, count) for key, begin, count in runs]
        return slices[0] if len(slices) == 1 else pa.concat_batches(slices)

    def _batch(self, key: int) -> pa.RecordBatch:
        """Return a stored batch that is read as a whole, with the wanted columns only."""
        batch = self._latest.pop(key, None)
        if batch is None:
            batch = self._view.batch(key, self._columns)
        self._latest[key] = batch
        if len(self._latest) > _KEPT_BATCHES:
            self._latest.popitem(last=False)
        return batch

    def _give_back(self) -> None:
        """Let go of batches that are too large to be held while nobody asks."""
        held_bytes = sum(batch.nbytes for batch in self._latest.values())
        while len(self._latest) > 1 and held_bytes > _KEPT_BYTES:
            _, batch = self._latest.popitem(last=False)
            held_bytes -= batch.nbytes


def _runs(spans: Iterator[Span], limit: int) -> Iterator[list[Span]]:
    """Yield neighbouring whole batches together, up to ``limit`` rows, and others one by one."""
    run: list[Span] = []
    rows = 0
    for span in spans:
        is_next = bool(run) and span.key == run[-1].key + 1
        fits = rows + span.rows <= limit
        if run and not (is_next and fits and span.is_whole and run[0].is_whole):
            yield run
            run, rows = [], 0
        run.append(span)
        rows += span.rows
    if run:
        yield run


def _starts(breaks: NDArray[np.bool_]) -> Numbers:
    """Return where runs begin, given between which neighbours one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(breaks) + 1])


def _run(key: int, begin: int, rows: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return one run of rows of a stored batch, as ``View.copied`` takes it."""
    numbers = np.array([[key], [begin], [rows]], np.int64)
    return numbers[0], numbers[1], numbers[2]
