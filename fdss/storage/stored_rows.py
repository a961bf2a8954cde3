"""Rows of stored batches, copied out of their files wherever they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pyarrow as pa

from fdss.errors import DatasetDamaged

from .columns import BadValues, Columns, Runs
from .contents import damage_told
from .messages import HEAD_BYTES
from .outlines import Outline
from .prefetch import fetch, is_cached
from .ranges import OpenFile
from .tables import Table, damaged
from .vectored import Fill, fill

# A look costs some microseconds, a fetch of what is there one a column.
_PROBES = 3


class StoredRows:
    """The rows of some batches of one schema, whose types let them be copied."""

    def __init__(
        self, batches: Sequence[tuple[Table, int]], columns: Sequence[str] | None = None
    ) -> None:
        """Name batches.

        Args:
            batches: Each a table and the number of a batch in it.
            columns: Columns to read, in this order; None for all.
        """
        self._batches = batches
        self._places = [table.place(number) for table, number in batches]
        self._stamps = list(dict.fromkeys(place.stamp for place in self._places))
        numbers = {stamp: number for number, stamp in enumerate(self._stamps)}
        self._files_of = [numbers[place.stamp] for place in self._places]
        table = batches[0][0]
        schema = table.schema
        shapes = table.shapes.columns if table.shapes else ()
        self._schema, self._shapes = schema, shapes
        if columns is not None:
            wanted = [schema.names.index(name) for name in columns]
            self._shapes = tuple(shapes[number] for number in wanted)
            self._schema = pa.schema([schema.field(at) for at in wanted], schema.metadata)

    def read(
        self, runs: Runs, *, is_bare: bool = False, is_scattered: bool = False
    ) -> pa.RecordBatch:
        """Return runs of rows, one after another, as a batch of its own memory.

        Args:
            runs: Of rows in the batches.
            is_bare: Leave values of bytes empty; see ``Columns``.
            is_scattered: Have the kernel fetch at once what is not in memory.

        Raises:
            ContentChanged: A file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(OpenFile(stamp)) for stamp in self._stamps]
            try:
                is_cold = is_scattered and self._is_cold(files, runs)
                columns = Columns(self._outlines(files, is_cold), self._files_of, is_bare=is_bare)
                with damage_told(f"File {self._stamps[0].name!r} cannot be read."):
                    arrays = self._arrays(columns, runs, files, is_cold)
                    return pa.RecordBatch.from_arrays(arrays, schema=self._schema)
            except BadValues as exc:
                raise DatasetDamaged(damaged(self._places[exc.batch])) from exc
            finally:
                # What changed meanwhile is not damaged, and not to be taken for the rows.
                for file in files:
                    file.check()

    def _outlines(self, files: list[OpenFile], is_cold: bool) -> list[Outline]:
        if is_cold:
            for place, file in zip(self._places, self._files_of, strict=True):
                fetch(files[file], [(place.offset, min(place.length, HEAD_BYTES))])
        return [
            table.outline(number, files[file])
            for (table, number), file in zip(self._batches, self._files_of, strict=True)
        ]

    def _arrays(
        self, columns: Columns, runs: Runs, files: list[OpenFile], is_cold: bool
    ) -> list[pa.Array]:
        steps = columns.arrays(self._shapes, runs)
        while True:
            try:
                wanted = next(steps)
            except StopIteration as over:
                arrays: list[pa.Array] = over.value
                return arrays
            if is_cold:
                for part in wanted:
                    _fetch(part, files)
            fill(wanted, files)

    def _is_cold(self, files: list[OpenFile], runs: Runs) -> bool:
        """Tell whether rows seem not to be in memory."""
        for run in range(0, len(runs), max(1, len(runs) // _PROBES)):
            batch = int(runs.batches[run])
            place = self._places[batch]
            middle = int(runs.begins[run] + runs.ends[run]) // 2
            # As if all rows were alike.
            offset = place.offset + place.length * middle // max(1, place.rows)
            if not is_cached(files[self._files_of[batch]], offset):
                return True
        return False


def _fetch(part: Fill, files: list[OpenFile]) -> None:
    ranges = zip(part.files.tolist(), part.offsets.tolist(), part.sizes.tolist(), strict=True)
    for file, offset, size in ranges:
        fetch(files[file], [(offset, size)])
