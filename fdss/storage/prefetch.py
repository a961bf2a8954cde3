"""What is about to be read of a file, told to the kernel before it is touched.

A row that is not in memory is brought in by a page fault, one after another, each with what the
disk is set to read around it. Told beforehand, the kernel fetches all the rows of a page at once,
in the order that suits the disk, and nothing beside them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from .stamps import Place
    from .tables import Table

HEAD_BYTES = 16 * 1024
# A look costs some microseconds, a fetch of what is there one a column.
PROBES = 3

Extent = tuple[int, int]
Fetch = Callable[[int, int], None]


class Run:
    """Consecutive rows of a stored batch that are about to be read."""

    def __init__(self, table: Table, number: int, begin: int, end: int) -> None:
        """Name rows.

        Args:
            number: Of the batch in the table.
            begin: The first row, counted from the first of the batch.
            end: Behind the last.
        """
        self._table = table
        self._number = number
        self._begin = begin
        self._end = end

    @cached_property
    def place(self) -> Place:
        """Return where the message of the batch lies."""
        return self._table.place(self._number)

    def is_cached(self) -> bool:
        """Tell whether the rows seem to be in memory: True where that cannot be told."""
        # A Python that was made for old C libraries, as portable ones are, cannot ask either.
        if sys.platform != "linux" or not hasattr(os, "RWF_NOWAIT"):
            return True
        place = self.place
        # As if all rows were alike.
        middle = place.length * (self._begin + self._end) // (2 * max(1, place.rows))
        try:
            descriptor = os.open(place.stamp.path, os.O_RDONLY)
        except OSError:
            return True
        try:
            # Else the kernel would begin to read megabytes around the byte.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            os.preadv(descriptor, [bytearray(1)], place.offset + middle, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except (OSError, NotImplementedError):
            return True
        finally:
            os.close(descriptor)
        return True

    def outline(self, columns: Sequence[str] | None) -> Iterator[Extent]:
        """Yield the offset in the file and the size of what tells where the batch's values are.

        Of a damaged batch nothing may come: whoever reads it says so.
        """
        place = self.place
        content = self._table.content(place.stamp)
        with contextlib.suppress(pa.ArrowException):
            message = pa.ipc.read_message(content.slice(place.offset, place.length))
            batch = pa.ipc.read_record_batch(message, self._table.schema)
            for name in batch.schema.names if columns is None else columns:
                for buffer in _outline(batch.column(name)):
                    yield buffer.address - content.address, buffer.size

    def extents(self, columns: Sequence[str] | None) -> Iterator[Extent]:
        """Yield the offset in the file and the size, in bytes, of what the rows take."""
        start = self._table.content(self.place.stamp).address
        for column in self._table.batch(self._number, columns).columns:
            for address, size in extents(column, self._begin, self._end):
                yield address - start, size


def prefetch(
    run_of: Callable[[int, int, int], Run],
    spans: Sequence[tuple[int, int, int]],
    columns: Sequence[str] | None = None,
) -> None:
    """Have the kernel fetch rows that are about to be read, unless they seem to be in memory.

    It does so while this thread goes on. Where the system cannot be asked, nothing happens.

    Args:
        run_of: Makes a run of a span.
        spans: The rows: of a batch, from the first on, to behind the last.
        columns: Columns that are read; None for all.

    Raises:
        ContentChanged: A file is not the file that was opened.
        DatasetDamaged: It cannot be read.
    """
    if all(run_of(*span).is_cached() for span in spans[:: max(1, len(spans) // PROBES)]):
        return
    runs = [run_of(*span) for span in spans]
    # Of the runs of one batch, one tells where its values are.
    firsts = {span[0]: run for span, run in zip(spans, runs, strict=True)}.values()
    with contextlib.ExitStack() as opened:
        paths = {run.place.stamp.path for run in firsts}
        fetches = {path: opened.enter_context(_fetching(path)) for path in paths}
        for run in firsts:
            fetches[run.place.stamp.path](run.place.offset, min(run.place.length, HEAD_BYTES))
        # What tells where the rows are comes first, of all batches at once, and then the rows.
        for of_run, those in ((Run.outline, firsts), (Run.extents, runs)):
            for run in those:
                for offset, size in of_run(run, columns):
                    fetches[run.place.stamp.path](offset, size)


@contextlib.contextmanager
def _fetching(path: str) -> Iterator[Fetch]:
    descriptor = os.open(path, os.O_RDONLY)

    def fetch(offset: int, size: int) -> None:
        # To the kernel a size of 0 is everything up to the end of the file.
        if sys.platform == "linux" and size:
            os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    try:
        yield fetch
    finally:
        os.close(descriptor)


def _outline(array: Any) -> Iterator[pa.Buffer]:
    """Yield the buffers of an array that hold offsets, or tell which values are null."""
    type_, buffers = array.type, array.buffers()
    if buffers and buffers[0] is not None:
        yield buffers[0]
    if pa.types.is_struct(type_):
        for field in range(type_.num_fields):
            yield from _outline(array.field(field))
    elif type_ in _VARIABLE:
        yield buffers[1]
    elif isinstance(type_, pa.ListType | pa.LargeListType | pa.MapType):
        yield buffers[1]
        yield from _outline(array.values)
    elif pa.types.is_fixed_size_list(type_):
        yield from _outline(array.values)


def extents(array: Any, begin: int, end: int) -> Iterator[Extent]:
    """Yield the address and size, in bytes, of what rows of a stored array take, but null bits.

    The offsets of text and lists are read for it. Types that are laid out otherwise than with
    one offset a value yield nothing.
    """
    type_ = array.type
    if pa.types.is_struct(type_):
        for field in range(type_.num_fields):
            yield from extents(array.field(field), begin, end)
    elif pa.types.is_fixed_size_list(type_):
        yield from extents(array.values, begin * type_.list_size, end * type_.list_size)
    elif type_ in _VARIABLE:
        offsets, content = array.buffers()[1:]
        first, last = _bounds(offsets, _VARIABLE[type_], begin, end)
        if content is not None:
            yield content.address + first, last - first
    elif isinstance(type_, pa.ListType | pa.LargeListType | pa.MapType):
        width = np.int64 if isinstance(type_, pa.LargeListType) else np.int32
        yield from extents(array.values, *_bounds(array.buffers()[1], width, begin, end))
    elif any(is_of(type_) for is_of in _FIXED):
        first, last = begin * type_.bit_width // 8, -(-end * type_.bit_width // 8)
        yield array.buffers()[1].address + first, last - first


_FIXED = (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_fixed_size_binary)
_VARIABLE = {
    pa.string(): np.int32,
    pa.binary(): np.int32,
    pa.large_string(): np.int64,
    pa.large_binary(): np.int64,
}


def _bounds(offsets: pa.Buffer, width: type[Any], begin: int, end: int) -> tuple[int, int]:
    known = np.frombuffer(offsets, width)
    return int(known[begin]), int(known[end])
