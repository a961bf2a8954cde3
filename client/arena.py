"""Memory that record batches arrive in, used again as soon as nothing of a batch is left."""

from __future__ import annotations

from collections import deque

import pyarrow as pa

SMALL_BYTES = 64 * 1024
GRAIN_BYTES = 256 * 1024
KEPT_REGIONS = 4


class Arena:
    """Hands out memory, and takes it back when the last array in it has gone.

    What an allocator is given back by another thread than it gave it to lies about in its pages
    for a while, several times what is in use; here it is filled again at once. One thread takes;
    any may give back.
    """

    def __init__(self) -> None:
        self._free: deque[pa.Buffer] = deque(maxlen=KEPT_REGIONS)

    def take(self, size_bytes: int) -> Region:
        """Return memory of at least that size; it may hold what was in it before."""
        if size_bytes < SMALL_BYTES:
            # The system's allocator is whole after a fork, whatever a thread was doing in it.
            return Region(pa.allocate_buffer(size_bytes, memory_pool=pa.system_memory_pool()), None)
        return Region(self._found(size_bytes), self._free)

    def _found(self, size_bytes: int) -> pa.Buffer:
        for _ in range(len(self._free)):
            memory = self._free.pop()
            if size_bytes <= memory.size <= 2 * size_bytes:
                return memory
        return pa.allocate_buffer(
            -(-size_bytes // GRAIN_BYTES) * GRAIN_BYTES, memory_pool=pa.system_memory_pool()
        )


class Region:
    """Memory that goes back to where it came from."""

    __slots__ = ("_free", "_memory")

    def __init__(self, memory: pa.Buffer, free: deque[pa.Buffer] | None) -> None:
        self._memory = memory
        self._free = free

    @property
    def content(self) -> memoryview:
        """Return the memory, to be written; not beyond the life of the region."""
        return memoryview(self._memory).cast("B")

    def filled(self, size_bytes: int) -> pa.Buffer:
        """Return the first bytes, to be read; they keep the region."""
        return pa.foreign_buffer(self._memory.address, size_bytes, base=self)

    def __del__(self) -> None:
        if self._free is not None:
            self._free.append(self._memory)
