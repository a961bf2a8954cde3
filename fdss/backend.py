"""What a source of rows answers to, and the one question it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]
FeaturesJson = dict[str, Any]

DEFAULT_BLOCK_ROWS = 16
WINDOW_ROWS = 1000
MAX_BLOCK_ROWS = 65_536
MAX_WINDOW_ROWS = 1 << 17
MAX_SEED = (1 << 64) - 1


@dataclass(frozen=True)
class Selection:
    """Which rows are read, and in which order: the whole question a backend answers.

    The stored rows of ``rows`` take part. Order v1 (``fdss.order``) of ``seed``, ``block`` and
    ``window`` puts those ``len(rows)`` rows in a sequence; without a seed that sequence is the
    stored one. Of the sequence, the places of ``positions`` are read, in rising order.

    Attributes:
        rows: Stored rows that take part; step 1 or more, within the dataset.
        positions: Places in their order; step 1 or more, within ``range(len(rows))``.
        seed: Order of the epoch, 0 to 2**64 - 1; None keeps the stored order.
        block: Consecutive rows that stay together, 1 to 65,536; without meaning when seed is None.
        window: Positions mixed among themselves on top, 0 (off) to 131,072; likewise.
        columns: Columns to read, in this order; None for all.
    """

    rows: range
    positions: range
    seed: int | None = None
    block: int = DEFAULT_BLOCK_ROWS
    window: int = 0
    columns: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.positions)


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


class BatchSource(Protocol):
    """Stored rows that are read as record batches, of storage types (never extension types)."""

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the stored batches, HF features in its metadata."""

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield the selected rows, 1 or more a batch, in the order of the selection."""

    def pieces(self, selection: Selection) -> Iterator[pa.Buffer | pa.RecordBatch]:
        """Yield the same rows; whole stored batches may come as their IPC messages.

        A buffer holds one or more record batch messages as they stand in the file.
        """

    def costs_nothing(self, selection: Selection) -> bool:
        """Tell whether the rows of a selection can be had without being read or copied.

        All of its pieces may then be listed before the first is sent.
        """
