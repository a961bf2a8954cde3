"""What a source of rows answers to, and the one question it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Row = dict[str, Any]
FeaturesJson = dict[str, Any]

DEFAULT_BLOCK_ROWS = 16
WINDOW_ROWS = 1000
MAX_BLOCK_ROWS = 65_536
MAX_WINDOW_ROWS = 1 << 17
MAX_SEED = (1 << 64) - 1
MAX_RUN_ROWS = 1 << 32

# More than any dataset has rows: what is cut off here is never reached.
_MAX_PLACES = 1 << 62


@dataclass(frozen=True)
class Runs:
    """Which of a number of consecutive places are read: one run of neighbours out of every few.

    Attributes:
        rows: Places of a run, 1 to 2**32.
        every: One of so many runs is read, the first, 1 to 2**32.
        begun: Places of the first run that are over already, 0 to ``rows`` - 1.
    """

    rows: int
    every: int
    begun: int = 0

    def count(self, places: int) -> int:
        """Return how many of the first ``places`` places are read."""
        whole, rest = divmod(places + self.begun, self.rows * self.every)
        return whole * self.rows + min(rest, self.rows) - self.begun

    def offsets(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return where the ``begin``-th to the ``end``-th of the places that are read stand."""
        at = np.arange(begin + self.begun, end + self.begun, dtype=np.int64)
        runs, within = np.divmod(at, self.rows)
        offsets: NDArray[np.int64] = runs * min(self.rows * self.every, _MAX_PLACES) + within
        return offsets - self.begun

    def after(self, count: int) -> Runs:
        """Return the runs that are left when ``count`` of their places were read."""
        return replace(self, begun=(self.begun + count) % self.rows)


@dataclass(frozen=True)
class Selection:
    """Which rows are read, and in which order: the whole question a backend answers.

    The stored rows of ``rows`` take part. Order v1 (``fdss.order``) of ``seed``, ``block`` and
    ``window`` puts those ``len(rows)`` rows in a sequence; without a seed that sequence is the
    stored one. Of the sequence, the places of ``positions`` are read, in rising order, or those of
    them that ``runs`` names: ``places`` says which.

    Attributes:
        rows: Stored rows that take part; step 1 or more, within the dataset.
        positions: Places in their order; step 1 or more, within ``range(len(rows))``.
        seed: Order of the epoch, 0 to 2**64 - 1; None keeps the stored order.
        block: Consecutive rows that stay together, 1 to 65,536; without meaning when seed is None.
        window: Positions mixed among themselves on top, 0 (off) to 131,072; likewise.
        columns: Columns to read, in this order; None for all.
        runs: Which of ``positions`` are read; None for all.
    """

    rows: range
    positions: range
    seed: int | None = None
    block: int = DEFAULT_BLOCK_ROWS
    window: int = 0
    columns: tuple[str, ...] | None = None
    runs: Runs | None = None

    def __len__(self) -> int:
        count = len(self.positions)
        return count if self.runs is None else self.runs.count(count)

    def places(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return the places of the ``begin``-th to the ``end``-th row, as far as there are rows."""
        positions = self.positions
        if self.runs is None:
            some = positions[begin:end]
            return np.arange(some.start, some.stop, some.step, dtype=np.int64)
        return positions.start + self.runs.offsets(begin, min(end, len(self))) * positions.step

    def part(self, begin: int, rows: int) -> Selection:
        """Return the selection of ``rows`` rows from the ``begin``-th on, or of those left."""
        count = max(min(rows, len(self) - begin), 0)
        if self.runs is None or not count:
            return replace(self, positions=self.positions[begin : begin + count], runs=None)
        first, last = (int(self.runs.offsets(at, at + 1)[0]) for at in (begin, begin + count - 1))
        positions = self.positions[first : last + 1]
        runs = None if len(positions) == count else self.runs.after(begin)
        return replace(self, positions=positions, runs=runs)


class Chunk(Protocol):
    """Consecutive rows of a selection, 1 or more."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self) -> list[Row]:
        """Return the rows as Python values, equal to what ``datasets`` gives for them."""


class Backend(Protocol):
    """A dataset that can be read from any position in any order.

    A backend holds no cursor: two readers never move one another. It can be pickled and used
    after a fork.
    """

    @property
    def fingerprint(self) -> str:
        """Return the content fingerprint, the same for the same rows wherever they lie."""

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in stored order."""

    @property
    def features(self) -> FeaturesJson:
        """Return the HF features as JSON, a name to a feature, in stored order."""

    def __len__(self) -> int:
        """Return the number of stored rows."""

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order; together ``len(selection)`` rows.

        Closing the iterator releases what it holds (files, sockets, threads) at once.

        Raises:
            FdssError: Before the first chunk if the selection is refused; later if the rows
                cannot be had. Ending early is always an error, never an end.
        """


class FilePart(Protocol):
    """Consecutive bytes of a file, which nobody has read yet.

    All that is asked of it may raise ``ContentChanged``: the file is not the file that it was.
    """

    def __len__(self) -> int:
        """Return the number of bytes."""

    def after(self, count: int) -> FilePart:
        """Return what follows the first ``count`` bytes."""

    def mapped(self) -> memoryview | None:
        """Return the bytes for system calls alone; whoever else looks at them may be ended.

        None where the system does not offer it.
        """

    def first(self) -> memoryview:
        """Return a copy of the first bytes, a quarter of a mebibyte at most."""


class BatchSource(Protocol):
    """Stored rows that are read as record batches, of storage types (never extension types)."""

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the stored batches, HF features in its metadata."""

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield the selected rows, 1 or more a batch, in the order of the selection."""

    def pieces(self, selection: Selection) -> Iterator[FilePart | pa.RecordBatch]:
        """Yield the same rows; whole stored batches may come as their IPC messages.

        A part of a file holds one or more record batch messages.
        """

    def costs_nothing(self, selection: Selection) -> bool:
        """Tell whether the rows of a selection can be had without being read or copied.

        All of its pieces may then be listed before the first is sent.
        """
