"""Which columns of which stored batches are known to be sound.

Arrow follows the offsets inside a batch without a look at where they lead, and one that leads out
of the file ends the process. So every column is looked through before the first of its values is
touched, once for as long as the file is the file that was opened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fdss.bounds import check_bounds


class SoundColumns:
    """Remembers what was looked through. Threads that meet do the same work twice, no harm."""

    def __init__(self, batches: int, columns: int) -> None:
        self._is_known = np.zeros((batches, columns), np.bool_)

    def check(
        self, number: int, batch: pa.RecordBatch, columns: Sequence[str] | None = None
    ) -> None:
        """Look through the columns of a stored batch that were never looked through.

        Args:
            number: Number of the batch.
            batch: What was read of it, with all its columns.
            columns: Names of those that are needed; None for all.

        Raises:
            pa.ArrowException: Values of a column cannot be read.
        """
        known = self._is_known[number]
        if known.all():
            return
        needed = None if columns is None else set(columns)
        for at, name in enumerate(batch.schema.names):
            if not known[at] and (needed is None or name in needed):
                check_bounds(batch.column(at))
                known[at] = True
