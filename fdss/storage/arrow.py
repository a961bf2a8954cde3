"""ArrowBackend: stored rows in any order, from any position, read from Arrow files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson, FilePart, Selection
from fdss.errors import BadParameter, UnknownColumn
from fdss.order import Order
from fdss.rows import BatchChunk, RowMaker, features_of

from .contents import damage_told
from .fingerprint import fingerprint_of
from .gather import BatchReader
from .media import MediaEmbedder
from .roots import MediaRoots
from .stamps import Sources
from .views import View

_BATCH_BYTES = 512 * 1024
_MAX_BATCH_ROWS = 16_384
_WINDOW_BYTES = 4 << 20
_LISTED_BYTES = 2 << 20
# An order asked for many rows at once costs a tenth of one asked for few, many times.
_PLACED_ROWS = 8192
_STALE_EVERY_S = 1.0


class ArrowBackend:
    """Rows of Arrow files, as a backend and as a source of record batches.

    It holds no cursor, can be pickled, used after a fork, and read by several threads at once.
    """

    def __init__(
        self, view: View, sources: Sources | None = None, roots: MediaRoots | None = None
    ) -> None:
        """Serve a view.

        Args:
            view: The rows.
            sources: The files that the rows were prepared from; None if they are served as they
                are.
            roots: Where media files that rows name may be read; None for nowhere.
        """
        self._view = view
        with damage_told("The features that the schema of the dataset tells are damaged."):
            self._media = MediaEmbedder(view.schema, roots or MediaRoots())
        self._sources = sources
        self._fingerprint = view.whole.fingerprint if view.whole else ""
        self._is_stale = False
        self._looked_s = -math.inf

    def __len__(self) -> int:
        return len(self._view)

    def __getstate__(self) -> dict[str, Any]:
        # The clock of another process may be another clock.
        return {**self.__dict__, "_looked_s": -math.inf}

    @property
    def fingerprint(self) -> str:
        """Return the content fingerprint, the same for the same rows wherever they lie."""
        if not self._fingerprint:
            self._fingerprint = fingerprint_of(self._view, self._media)
        return self._fingerprint

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the batches, of storage types, HF features in its metadata."""
        return self._view.schema

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in stored order."""
        return list(self.schema.names)

    @property
    def features(self) -> FeaturesJson:
        """Return the HF features as JSON, a name to a feature, in stored order."""
        return features_of(self.schema)

    @property
    def batch_count(self) -> int:
        """Return the record batches of the files that rows are read from."""
        return sum(table.batch_count for table in self._view.tables)

    @property
    def index_files(self) -> list[Path]:
        """Return where the indexes of those files are kept, if they could be kept."""
        return [table.index_file for table in self._view.tables]

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield the selected rows in their order, about half a mebibyte or one row a batch.

        Media files that rows only name are within them, a mebibyte or one row a batch.

        Raises:
            BadParameter: At once: the selection is not within the dataset, or has no column.
            UnknownColumn: At once: a column does not exist.
            ContentChanged: A file that is read is not the file that was opened.
            DatasetDamaged: A file cannot be read.
            Forbidden: A row names a file that is not the dataset's.
        """
        self._check(selection)
        if selection.columns == ():
            raise BadParameter("columns must name a column or more, found none.")
        if not selection.positions:
            return iter(())
        batches = self._batches(selection, BatchReader(self._view, selection.columns))
        return self._media.embedded(batches) if self._media else batches

    def pieces(self, selection: Selection) -> Iterator[FilePart | pa.RecordBatch]:
        """Yield the same rows; stored batches that are wanted whole come as they stand on disk.

        A part of a file holds the IPC messages of one or more of them; nothing of it is read.
        """
        self._check(selection)
        rows = _consecutive(selection)
        if rows is None or selection.columns is not None:
            return self.batches(selection)
        if not self._media:
            return BatchReader(self._view, None).pieces(rows, self._batch_rows)
        reader = BatchReader(self._view, None, self._media.is_needed)
        return self._media.filled(reader.pieces(rows, self._batch_rows))

    def costs_nothing(self, selection: Selection) -> bool:
        """Tell whether the rows of a selection can be had without being read or copied.

        What little is copied, of columns or of parts of batches, is no more than two mebibytes.
        """
        rows = _consecutive(selection)
        if rows is None or self._media or not self._view.is_copyable:
            return False
        is_projected = selection.columns is not None
        copied = len(rows) if is_projected else self._view.partial_rows(rows)
        return copied * self._view.row_bytes <= _LISTED_BYTES

    def chunks(self, selection: Selection) -> Iterator[BatchChunk]:
        """Yield the selected rows in their order, as ``batches`` does; of no column, empty ones."""
        self._check(selection)
        bare = selection.columns == ()
        batches = _bare(len(selection)) if bare else self.batches(selection)
        with damage_told("The features that the schema of the dataset tells are damaged."):
            maker = RowMaker(self.features, selection.columns)
        return (BatchChunk(batch, maker) for batch in batches)

    def is_stale(self, *, at_once: bool = False) -> bool:
        """Tell whether files changed since the dataset was opened.

        They are looked at no more than once a second, unless ``at_once`` asks for a look now.
        """
        now_s = time.monotonic()
        is_due = at_once or now_s - self._looked_s >= _STALE_EVERY_S
        if not self._is_stale and is_due:
            self._looked_s = now_s
            self._is_stale = not self._is_fresh()
        return self._is_stale

    @property
    def _batch_rows(self) -> int:
        return self._rows_of(_BATCH_BYTES)

    def _rows_of(self, size_bytes: int) -> int:
        return int(min(max(1, size_bytes // max(1, self._view.row_bytes)), _MAX_BATCH_ROWS))

    def _is_fresh(self) -> bool:
        if self._sources is not None and not self._sources.is_fresh:
            return False
        return all(table.is_fresh for table in self._view.tables)

    def _batches(self, selection: Selection, reader: BatchReader) -> Iterator[pa.RecordBatch]:
        rows = _consecutive(selection)
        if rows is not None:
            return reader.stored(rows, self._batch_rows)
        order = Order(len(selection.rows), selection.seed, selection.block, selection.window)
        return self._ordered(selection, order, reader)

    def _ordered(
        self, selection: Selection, order: Order, reader: BatchReader
    ) -> Iterator[pa.RecordBatch]:
        positions, stored = selection.positions, selection.rows
        limit = self._gathered_rows(selection)
        # Gathered by whole windows, a window's rows are runs of neighbours but for their order.
        begin = -(positions.start % selection.window) if limit == selection.window else 0
        placed = max(1, _PLACED_ROWS // limit) * limit
        for first in range(begin, len(selection), placed):
            places = selection.places(max(first, 0), first + placed)
            rows = stored.start + order.rows(places) * stored.step
            # Nothing of a batch is kept here while the reader waits: there may be thousands.
            for at in range(min(first, 0), len(rows), limit):
                yield reader.gathered(rows[max(at, 0) : at + limit])

    def _gathered_rows(self, selection: Selection) -> int:
        """Return how many rows are gathered at once: the more, the more of them are neighbours."""
        if not selection.window:
            return self._batch_rows
        most = self._rows_of(_WINDOW_BYTES)
        is_consecutive = selection.positions.step == 1 and selection.runs is None
        return selection.window if is_consecutive and selection.window <= most else most

    def _check(self, selection: Selection) -> None:
        rows, positions = selection.rows, selection.positions
        for name, asked, count in (
            ("rows", rows, len(self)),
            ("positions", positions, len(rows)),
        ):
            if asked.step < 1 or (len(asked) and (asked[0] < 0 or asked[-1] >= count)):
                raise BadParameter(f"{name} {asked} are not within 0 to {count:,}.")
        known = set(self.schema.names)
        for column in selection.columns or ():
            if column not in known:
                raise UnknownColumn(
                    f"Column {column!r} does not exist; found: {', '.join(self.schema.names)}."
                )


def _consecutive(selection: Selection) -> range | None:
    """Return the selected rows if they follow one another as they are stored."""
    if selection.runs is not None or (selection.seed is not None and len(selection.rows) > 1):
        return None
    rows = selection.rows[selection.positions.start : selection.positions.stop]
    return rows if rows.step == selection.positions.step == 1 else None


def _bare(count: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of ``count`` rows together that have no columns."""
    for begin in range(0, count, _MAX_BATCH_ROWS):
        rows = min(_MAX_BATCH_ROWS, count - begin)
        yield pa.record_batch({"": pa.nulls(rows)}).select([])
