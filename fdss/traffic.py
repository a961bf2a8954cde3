"""How busy a server is: the streams of rows under way, and the bytes they sent lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from typing import Any

#: How far back "lately" goes.
WINDOW_S = 10
#: Anybody may ask, so the rate is told in steps: it shows who is busy, and no single page.
STEP_BYTES = 1 << 20

# A second's place is taken again after as many seconds, when it has long left the window.
_PLACES = 16
# Reentrant: the garbage collector may end a stream while another is counted.
_lock = threading.RLock()


@dataclass(frozen=True)
class Traffic:
    """What every worker sends, in memory that all workers see; each writes its own part.

    Attributes:
        streams: Streams under way, of each worker.
        seconds: The second of the clock that a place counts, 16 places for each worker.
        sent: Bytes of that second.
        index: The worker that this is the view of.
        now_s: The clock, the same in every worker.
    """

    streams: Any
    seconds: Any
    sent: Any
    index: int = 0
    now_s: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, workers: int = 1, context: SpawnContext | None = None) -> Traffic:
        """Return the traffic of a number of workers, none yet; without a context of one process."""

        def zeros(size: int) -> Any:
            return [0] * size if context is None else context.RawArray("q", size)

        return cls(zeros(workers), zeros(workers * _PLACES), zeros(workers * _PLACES))

    def begin(self) -> Callable[[], None]:
        """Count one stream more; return the call that counts it no longer."""
        with _lock:
            self.streams[self.index] += 1

        def end() -> None:
            with _lock:
                self.streams[self.index] -= 1

        return end

    def add(self, size_bytes: int) -> None:
        """Count bytes that are sent now."""
        second = int(self.now_s())
        place = self.index * _PLACES + second % _PLACES
        with _lock:
            if self.seconds[place] != second:
                self.seconds[place], self.sent[place] = second, 0
            self.sent[place] += size_bytes

    def clear(self) -> None:
        """Forget what a worker before this one left under way."""
        with _lock:
            self.streams[self.index] = 0

    def as_json(self) -> dict[str, int]:
        """Return what anybody may know: the sum of all workers, the rate in whole MiB."""
        oldest = int(self.now_s()) - WINDOW_S
        sent_bytes = sum(
            size for second, size in zip(self.seconds, self.sent, strict=True) if second > oldest
        )
        steps = round(sent_bytes / WINDOW_S / STEP_BYTES)
        return {"streams": sum(self.streams), "bytes_per_s": steps * STEP_BYTES}
