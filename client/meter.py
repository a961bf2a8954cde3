"""Counts one pass as it is read: by the chunk, never by the row."""

from __future__ import annotations

import secrets
import threading
import time
from array import array
from collections.abc import Iterator

from fdss.backend import Backend, Chunk, Selection

from .shared import Process
from .slots import OWNER, SLOT_BYTES, Slot, Snapshot
from .tallies import TalliedBackend, Tally
from .waits import BUCKETS, bucket_of

#: How often the thread's processor time is asked for, which is a system call.
WORK_EVERY_NS = 100_000_000


class Meter:
    """The counts of one pass, written where others can see them.

    The slot belongs to the newest pass of its reader: a pass that has lost it goes on counting
    for itself, as does the copy in a forked process.

    Attributes:
        tally: What the pass asks of servers.
    """

    def __init__(self, slot: Slot, workers: int, epoch: int, position: int) -> None:
        """Begin a pass, whose first row is asked for now.

        Args:
            workers: DataLoader workers of the pass; 0 outside of one.
            position: Rows of the epoch that lie behind it.
        """
        self.tally = Tally(self._show)
        self._slot = slot
        self._process = Process.here
        self._owner = secrets.randbits(63) | 1
        self._pass = (self._owner, workers, epoch)
        self._first = self._position = position
        self._is_over = False
        self._chunks = self._waited_ns = self._waiting_ns = self._worked_ns = 0
        self._waits = array("I", bytes(4 * BUCKETS))
        self._named: list[str] = []
        self._began_ns = self._now_ns = self._looked_ns = time.perf_counter_ns()
        self._thread, self._processor_ns = threading.get_native_id(), time.thread_time_ns()
        slot.clear()
        self._publish()

    def chunks(self, backend: Backend, selection: Selection) -> Iterator[Chunk]:
        """Return the chunks of a backend, which tells what it asks of servers if it can."""
        if isinstance(backend, TalliedBackend):
            return backend.tallied_chunks(selection, self.tally)
        return backend.chunks(selection)

    def wait(self, position: int) -> None:
        """Say that a chunk is waited for from now on.

        Args:
            position: Rows of the epoch that were handed on.
        """
        self._position = position
        self._now_ns = self._waiting_ns = time.perf_counter_ns()
        if self._now_ns - self._looked_ns >= WORK_EVERY_NS:
            self._count_work()
        self._show()

    def take(self) -> None:
        """Say that the chunk has come."""
        self._now_ns = time.perf_counter_ns()
        waited_ns = self._now_ns - self._waiting_ns
        self._waiting_ns = 0
        self._waited_ns += waited_ns
        self._chunks += 1
        bucket = bucket_of(waited_ns)
        self._waits[bucket] += 1
        self._show()
        self._slot.waits[bucket] = self._waits[bucket]

    def stop(self, position: int) -> None:
        """Say that no chunk is waited for any more, nor used up."""
        self._position = position
        self._now_ns = time.perf_counter_ns()
        if self._waiting_ns:
            self._waited_ns += self._now_ns - self._waiting_ns
            self._waiting_ns = 0
        self._count_work()
        self._show()

    def end(self) -> Snapshot:
        """Say that the last row of the pass was handed on, and return its counts."""
        self._is_over = True
        self._show()
        return self._slot.snapshot(None)

    def _show(self) -> None:
        if self._process is not Process.here or self._slot.numbers[OWNER] != self._owner:
            self._leave()
        self._publish()

    def _leave(self) -> None:
        self._slot = Slot(bytearray(SLOT_BYTES))
        self._slot.waits[:] = self._waits
        self._process = Process.here
        self._named = []

    def _publish(self) -> None:
        tally = self.tally
        tally.gather()
        if tally.servers is not self._named:
            self._named = tally.servers
            self._slot.name(tally.servers)
        self._slot.write(
            *self._pass,
            self._position,
            self._is_over,
            self._position - self._first,
            self._chunks,
            tally.received_bytes,
            tally.requests,
            tally.retries,
            tally.fail_overs,
            self._began_ns,
            self._now_ns,
            self._waited_ns,
            self._worked_ns,
            self._waiting_ns,
        )

    def _count_work(self) -> None:
        thread, processor_ns = threading.get_native_id(), time.thread_time_ns()
        # Another thread, or the one of a forked process, counts from 0; and numbers come again.
        if thread == self._thread and processor_ns > self._processor_ns:
            self._worked_ns += processor_ns - self._processor_ns
        self._thread, self._processor_ns, self._looked_ns = thread, processor_ns, self._now_ns
