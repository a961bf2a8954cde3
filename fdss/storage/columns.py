"""Rows of stored batches, copied out of their files: of each column just what the rows take.

It goes level by level: what says which values are null and where they end is copied for all
columns at once, and checked; then what it leads to. So what is used is what was checked, whatever
becomes of the file meanwhile, and a row costs its own bytes, however large its batch is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .limits import MAX_BARE_VALUES
from .outlines import OFFSET_BYTES, Outline, Shape, is_fixed, is_list
from .vectored import Fill

Numbers = NDArray[np.int64]
Made = TypeVar("Made")
# What is to be copied next; resumed when it is.
Steps = Generator[list[Fill], None, Made]

_MOST_OFFSET = (1 << 31) - 1


class BadValues(Exception):
    """Values do not lie within their batch.

    Attributes:
        batch: Number of the batch among those that are read.
    """

    def __init__(self, batch: int) -> None:
        super().__init__(batch)
        self.batch = batch


@dataclass(frozen=True)
class Runs:
    """Consecutive values of stored arrays, in the order in which they are wanted.

    Attributes:
        batches: int64, the number of the batch of each run.
        begins: int64, the first value.
        counts: int64, how many values.
    """

    batches: Numbers
    begins: Numbers
    counts: Numbers

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def total(self) -> int:
        """Return the number of values."""
        return int(self.counts.sum())

    @property
    def ends(self) -> Numbers:
        """Return where each run ends."""
        ends: Numbers = self.begins + self.counts
        return ends

    def only(self, wanted: NDArray[np.bool_]) -> Runs:
        """Return some of the runs."""
        if wanted.all():
            return self
        return Runs(self.batches[wanted], self.begins[wanted], self.counts[wanted])


class Columns:
    """The columns of some stored batches."""

    def __init__(
        self, outlines: Sequence[Outline], files: Sequence[int], *, is_bare: bool = False
    ) -> None:
        """Read batches of one schema.

        Args:
            outlines: Of each batch.
            files: The number of the file of each.
            is_bare: Leave all values of bytes empty, so that only which of them are null is told.
        """
        self._nodes = np.stack([outline.nodes for outline in outlines])
        self._buffers = np.stack([outline.buffers for outline in outlines])
        self._files = np.array(files, np.int64)
        self._is_bare = is_bare

    def arrays(self, shapes: Sequence[Shape], runs: Runs) -> Steps[list[pa.Array]]:
        """Return the values of the runs, one array for each shape.

        Raises:
            BadValues: Some do not lie within their batch.
            pa.ArrowException: They are too many for one array.
        """
        return together([self._array(shape, runs) for shape in shapes])

    def _array(self, shape: Shape, runs: Runs) -> Steps[pa.Array]:
        self._refuse(runs, runs.ends > self._nodes[runs.batches, shape.node, 0])
        runs = runs.only(runs.counts > 0)
        type_ = shape.type
        if not len(runs) or pa.types.is_null(type_):
            return pa.nulls(self._bare_values(runs), type_)
        if type_ in OFFSET_BYTES:
            return (yield from self._texts(shape, runs))
        if is_list(type_):
            return (yield from self._lists(shape, runs))
        if is_fixed(type_):
            return (yield from self._fixed(shape, runs))
        inner = runs
        if pa.types.is_fixed_size_list(type_):
            size = type_.list_size
            most = self._nodes[runs.batches, shape.inner[0].node, 0]
            self._refuse(runs, runs.ends > most // max(1, size))
            inner = Runs(runs.batches, runs.begins * size, runs.counts * size)
        if not shape.inner or not inner.total:
            self._bare_values(runs)
        made = yield from together(
            [self._nulls(shape, runs), *(self._array(part, inner) for part in shape.inner)]
        )
        (valid, nulls), *children = made
        return pa.Array.from_buffers(type_, runs.total, [valid], nulls, children=children)

    def _fixed(self, shape: Shape, runs: Runs) -> Steps[pa.Array]:
        bits = shape.type.bit_width
        if bits == 1:
            values = self._bits(shape.buffer + 1, runs)
        else:
            if not bits:
                self._bare_values(runs)
            values = self._bytes(shape.buffer + 1, runs, bits // 8)
        (valid, nulls), content = yield from together([self._nulls(shape, runs), values])
        if bits == 1:
            content = pa.py_buffer(np.packbits(content, bitorder="little"))
        return pa.Array.from_buffers(shape.type, runs.total, [valid, content], nulls)

    def _texts(self, shape: Shape, runs: Runs) -> Steps[pa.Array]:
        width = OFFSET_BYTES[shape.type]
        limits = self._buffers[runs.batches, shape.buffer + 2, 1]
        (valid, nulls), (offsets, inner) = yield from together(
            [self._nulls(shape, runs), self._offsets(shape.buffer + 1, runs, width, limits)]
        )
        if self._is_bare and shape.type in (pa.binary(), pa.large_binary()):
            offsets, content = pa.py_buffer(bytes(offsets.size)), pa.py_buffer(b"")
        else:
            content = yield from self._bytes(shape.buffer + 2, inner, 1)
        return pa.Array.from_buffers(shape.type, runs.total, [valid, offsets, content], nulls)

    def _lists(self, shape: Shape, runs: Runs) -> Steps[pa.Array]:
        width = 8 if isinstance(shape.type, pa.LargeListType) else 4
        [part] = shape.inner
        limits = self._nodes[runs.batches, part.node, 0]
        (valid, nulls), (offsets, inner) = yield from together(
            [self._nulls(shape, runs), self._offsets(shape.buffer + 1, runs, width, limits)]
        )
        child = yield from self._array(part, inner)
        return pa.Array.from_buffers(
            shape.type, runs.total, [valid, offsets], nulls, children=[child]
        )

    def _nulls(self, shape: Shape, runs: Runs) -> Steps[tuple[pa.Buffer | None, int]]:
        """Return which values are valid, as bits, and how many are null; None where none is."""
        has_nulls = self._nodes[runs.batches, shape.node, 1] > 0
        if not has_nulls.any():
            return None, 0
        told = runs.only(has_nulls)
        valid = yield from self._bits(shape.buffer, told)
        if told is not runs:
            some, valid = valid, np.ones(runs.total, np.bool_)
            valid[np.repeat(has_nulls, runs.counts)] = some
        packed = pa.py_buffer(np.packbits(valid, bitorder="little"))
        return packed, len(valid) - int(np.count_nonzero(valid))

    def _bits(self, buffer: int, runs: Runs) -> Steps[NDArray[np.bool_]]:
        self._refuse(runs, runs.ends > 8 * self._buffers[runs.batches, buffer, 1])
        begins = runs.begins >> 3
        sizes = ((runs.ends + 7) >> 3) - begins
        memory = yield from self._copied(buffer, runs, begins, sizes)
        bits = np.unpackbits(np.frombuffer(memory, np.uint8), bitorder="little").view(np.bool_)
        firsts = 8 * (np.cumsum(sizes) - sizes) + (runs.begins & 7)
        if len(runs) == 1:
            return bits[firsts[0] : firsts[0] + runs.counts[0]]
        shifts = firsts - (np.cumsum(runs.counts) - runs.counts)
        places = np.repeat(shifts, runs.counts) + np.arange(runs.total)
        return np.asarray(bits[places])

    def _bytes(self, buffer: int, runs: Runs, width: int) -> Steps[pa.Buffer]:
        if width:
            self._refuse(runs, runs.ends > self._buffers[runs.batches, buffer, 1] // width)
        return (yield from self._copied(buffer, runs, runs.begins * width, runs.counts * width))

    def _offsets(
        self, buffer: int, runs: Runs, width: int, limits: Numbers
    ) -> Steps[tuple[pa.Buffer, Runs]]:
        """Return offsets from 0 on, and the runs of what they lead to.

        Args:
            limits: Of each run, how far it may lead.
        """
        self._refuse(runs, runs.ends >= self._buffers[runs.batches, buffer, 1] // width)
        counts = runs.counts + 1
        memory = yield from self._copied(buffer, runs, runs.begins * width, counts * width)
        stored = np.frombuffer(memory, np.int32 if width == 4 else np.int64)
        tails = np.cumsum(counts) - 1
        heads = tails - runs.counts
        first, last = stored[heads].astype(np.int64), stored[tails].astype(np.int64)
        falls = np.less(stored[1:], stored[:-1])
        falls[tails[:-1]] = False
        if falls.any():
            raise BadValues(int(runs.batches[np.searchsorted(tails, np.argmax(falls))]))
        self._refuse(runs, (first < 0) | (last > limits))
        inner = Runs(runs.batches, first, last - first)
        if width == 4 and inner.total > _MOST_OFFSET:
            raise pa.ArrowInvalid("the rows are too large for one record batch")
        if len(runs) == 1:
            return pa.py_buffer(stored - stored[0]), inner
        shifts = first - (np.cumsum(inner.counts) - inner.counts)
        # Where a run ends, the next one begins.
        joined = np.delete(stored - np.repeat(shifts, counts), tails[:-1])
        return pa.py_buffer(joined.astype(stored.dtype)), inner

    def _copied(self, buffer: int, runs: Runs, begins: Numbers, sizes: Numbers) -> Steps[pa.Buffer]:
        memory = pa.allocate_buffer(int(sizes.sum()))
        if memory.size:
            offsets = self._buffers[runs.batches, buffer, 0] + begins
            yield [Fill(memory, self._files[runs.batches], offsets, sizes)]
        return memory

    def _bare_values(self, runs: Runs) -> int:
        """Return the number of values that take no bytes, if it is none to choke on."""
        if runs.total > MAX_BARE_VALUES:
            raise BadValues(int(runs.batches[0]))
        return runs.total

    def _refuse(self, runs: Runs, is_bad: NDArray[np.bool_]) -> None:
        if is_bad.any():
            raise BadValues(int(runs.batches[np.argmax(is_bad)]))


def together(parts: Sequence[Steps[Any]]) -> Steps[list[Any]]:
    """Take the steps of several at once, and return what each returns."""
    made: list[Any] = [None] * len(parts)
    left = dict(enumerate(parts))
    while left:
        wanted: list[Fill] = []
        for number, part in list(left.items()):
            try:
                wanted += next(part)
            except StopIteration as over:
                made[number] = over.value
                del left[number]
        if wanted:
            yield wanted
    return made
