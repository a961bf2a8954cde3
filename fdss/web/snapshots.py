"""What the router knows, for many who look at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

#: How old what is shown may be: it is made once for all who look in that time.
FRESH_S = 1.0
#: And how many times as long as it takes to be made, so that most of the time is left for others.
SHARE = 4.0


class Snapshot:
    """The answer of a call, kept for a moment."""

    def __init__(
        self,
        make: Callable[[], Mapping[str, Any]],
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the call."""
        self._make = make
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = threading.Lock()
        self._stale_at_s = float("-inf")
        self._kept: Mapping[str, Any] | None = None

    def get(self) -> Mapping[str, Any]:
        """Return what the call gave a moment ago; while one thread calls again, others get that."""
        kept = self._kept
        if kept is not None and (self._clock() < self._stale_at_s or self._lock.locked()):
            return kept
        with self._lock:
            begun_s = self._clock()
            if self._kept is None or begun_s >= self._stale_at_s:
                self._kept = self._make()
                made_s = self._clock()
                self._stale_at_s = made_s + max(self._fresh_s, SHARE * (made_s - begun_s))
            return self._kept
