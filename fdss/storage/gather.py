"""Rows from anywhere as one record batch, a column at a time.

Rows are never touched one by one in Python: runs of neighbours become slices, which are joined;
rows that are scattered over a stored batch are taken from it in one call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .prefetch import prefetch
from .schemas import has_views
from .views import Span, View

Numbers = NDArray[np.int64]

_MAX_GAP_ROWS = 4
_MIN_RUN_ROWS = 4
_LARGE_ROW_BYTES = 4096
_MAX_SLICES_A_BATCH = 8
_KEPT_BATCHES = 256
_KEPT_COPIES = 4
_KEPT_COPY_BYTES = 8 << 20


class BatchReader:
    """Reads the stored batches of a view, and keeps the latest; for one iteration, one thread."""

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
                if all may.
        """
        self._view = view
        self._is_unsendable = is_unsendable
        self._columns = None if columns is None else list(columns)
        self._can_take = not any(has_views(field.type) for field in view.schema)
        # Of rows this large, one more copy costs more than slices of one row.
        self._min_run_rows = 1 if view.row_bytes >= _LARGE_ROW_BYTES else _MIN_RUN_ROWS
        self._latest: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self._limit = _KEPT_BATCHES if view.is_zero_copy else _KEPT_COPIES

    def batch(self, key: int) -> pa.RecordBatch:
        """Return a stored batch, with the wanted columns only."""
        kept = self._latest.get(key)
        if kept is not None:
            self._latest.move_to_end(key)
            return kept
        batch = self._view.batch(key, self._columns)
        self._latest[key] = batch
        if len(self._latest) > self._limit:
            self._latest.popitem(last=False)
        return batch

    def stored(self, rows: range, limit: int) -> Iterator[pa.RecordBatch]:
        """Yield consecutive rows as slices of the stored batches, ``limit`` rows at most each."""
        for span in self._view.spans(rows):
            yield from self._slices_of(span, limit)

    def pieces(self, rows: range, limit: int) -> Iterator[pa.Buffer | pa.RecordBatch]:
        """Yield consecutive rows: whole stored batches as their messages, others as slices.

        Args:
            limit: Most rows of a slice; messages are joined up to as many rows, one at least.
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
        return not any(self._is_unsendable(self.batch(span.key)) for span in spans)

    def _slices_of(self, span: Span, limit: int) -> Iterator[pa.RecordBatch]:
        batch = self.batch(span.key)
        for begin in range(0, span.rows, limit):
            yield batch.slice(span.begin + begin, min(limit, span.rows - begin))
        if not self._view.is_zero_copy:
            self._latest.pop(span.key, None)

    def _give_back(self) -> None:
        """Let go of copies that are too large to be held while nobody asks."""
        if self._view.is_zero_copy:
            return
        held_bytes = sum(batch.nbytes for batch in self._latest.values())
        while len(self._latest) > 1 and held_bytes > _KEPT_COPY_BYTES:
            _, batch = self._latest.popitem(last=False)
            held_bytes -= batch.nbytes

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
        is_kept = len(np.unique(keys)) <= self._limit
        is_run = len(starts) * self._min_run_rows <= len(keys) or len(starts) == 1
        if not self._can_take or (is_kept and is_run):
            self._prefetch(keys, offsets, starts)
            return _joined(list(self._slices(keys, offsets, starts)))
        order = np.lexsort((offsets, keys))
        pieces, places = self._sorted_pieces(keys[order], offsets[order])
        wanted = np.empty_like(places)
        wanted[order] = places
        joined = _joined(pieces)
        if len(joined) == len(wanted) and np.array_equal(wanted, np.arange(len(wanted))):
            return joined
        return joined.take(pa.array(wanted))

    def _prefetch(self, keys: Numbers, offsets: Numbers, starts: Numbers) -> None:
        """Have the runs of rows that begin at ``starts`` fetched, where they lie as they are."""
        if not self._view.is_zero_copy:
            return
        lasts = np.append(starts[1:], len(keys)) - 1
        spans = (keys[starts].tolist(), offsets[starts].tolist(), (offsets[lasts] + 1).tolist())
        prefetch(self._view.run, list(zip(*spans, strict=True)), self._columns)

    def _slices(self, keys: Numbers, offsets: Numbers, starts: Numbers) -> Iterator[pa.RecordBatch]:
        counts = np.diff(starts, append=len(keys))
        runs = zip(keys[starts].tolist(), offsets[starts].tolist(), counts.tolist(), strict=True)
        for key, offset, count in runs:
            yield self.batch(key).slice(offset, count)

    def _sorted_pieces(
        self, keys: Numbers, offsets: Numbers
    ) -> tuple[list[pa.RecordBatch], Numbers]:
        """Return pieces of stored batches, and the place of each row in the joined pieces."""
        starts = _starts((np.diff(keys) != 0) | (np.diff(offsets) > _MAX_GAP_ROWS))
        self._prefetch(keys, offsets, starts)
        # Rows that are scattered over one stored batch are taken from it in one call.
        heads = np.flatnonzero(np.diff(keys[starts], prepend=-1))
        slices = np.diff(heads, append=len(starts))
        taken = np.repeat(slices > _MAX_SLICES_A_BATCH, slices)
        is_kept = ~taken
        is_kept[heads] = True
        starts, taken = starts[is_kept], taken[is_kept]
        counts = np.diff(starts, append=len(keys))
        lows = offsets[starts]
        sizes = np.where(taken, counts, offsets[starts + counts - 1] - lows + 1)
        done = np.cumsum(sizes) - sizes
        in_piece = np.where(
            np.repeat(taken, counts),
            np.arange(len(keys)) - np.repeat(starts, counts),
            offsets - np.repeat(lows, counts),
        )
        runs = (keys[starts], starts, counts, lows, sizes, taken)
        pieces = [
            self.batch(key).take(pa.array(offsets[start : start + count]))
            if is_taken
            else self.batch(key).slice(low, size)
            for key, start, count, low, size, is_taken in zip(
                *(numbers.tolist() for numbers in runs), strict=True
            )
        ]
        return pieces, in_piece + np.repeat(done, counts)


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


def _joined(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
