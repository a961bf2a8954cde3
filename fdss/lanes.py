"""Threads in lanes, so that a question never waits behind streams or loads."""

from __future__ import annotations

import logging
import re
from typing import Any

from waitress.task import ThreadedTaskDispatcher

from fdss.errors import TooManyLoads
from fdss.refusals import Refused
from fdss.wire.names import (
    AUTH_STATUS_PATH,
    DATASETS_PATH,
    HEALTH_PATH,
    METRICS_PATH,
    OPENAPI_PATH,
    READY_PATH,
)

CONTROL_THREADS = 2
LOAD_THREADS = 4

# A turn that waits is a busy lane, not news.
_QUIET = logging.Logger("fdss.lanes", logging.CRITICAL)

#: Paths of pages of rows.
ROW_PATHS = re.compile(re.escape(DATASETS_PATH) + "/[^/]+/iter/?")
_QUICK = (HEALTH_PATH, AUTH_STATUS_PATH, OPENAPI_PATH, READY_PATH, METRICS_PATH)


class Lanes:
    """A dispatcher of three thread pools.

    Pages of rows have one; questions that are answered from memory have another; whatever else
    may have to open a dataset or walk a folder has the third.
    """

    def __init__(
        self,
        row_threads: int,
        max_loads: int,
        row_paths: re.Pattern[str] = ROW_PATHS,
        load_threads: int = LOAD_THREADS,
    ) -> None:
        """Start the threads.

        Args:
            row_threads: Threads of the first lane, 1 or more.
            max_loads: Requests that may wait in the third lane; more are refused.
            row_paths: Paths of the requests that go into the first lane.
            load_threads: Threads of the third lane, 1 or more.
        """
        self._max_loads = max_loads
        self._row_paths = row_paths
        self._rows, self._loads, self._control = (ThreadedTaskDispatcher() for _ in range(3))
        for lane, threads in (
            (self._rows, row_threads),
            (self._loads, load_threads),
            (self._control, CONTROL_THREADS),
        ):
            lane.queue_logger = _QUIET
            lane.set_thread_count(threads)

    def add_task(self, channel: Any) -> None:
        """Queue a channel's next turn in the lane of its request."""
        lane = self.lane_of(channel)
        if lane is self._loads and not channel.has_begun and len(lane.queue) >= self._max_loads:
            refusal = TooManyLoads(f"{self._max_loads:,} loads wait already, and no more may.")
            channel.requests[0].error = Refused(refusal)
            lane = self._control
        lane.add_task(channel)

    def others_wait(self, channel: Any) -> bool:
        """Return whether another channel waits in the lane of this one."""
        return bool(self.lane_of(channel).queue)

    def lane_of(self, channel: Any) -> ThreadedTaskDispatcher:
        """Return the lane of a channel's present request."""
        requests = channel.requests
        path = "" if not requests or requests[0].error else requests[0].path
        if self._row_paths.fullmatch(path):
            return self._rows
        return self._control if not path or path.rstrip("/") in _QUICK else self._loads

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """Stop all threads; return whether a queue had to be emptied."""
        stopped = [
            lane.shutdown(cancel_pending, timeout)
            for lane in (self._control, self._loads, self._rows)
        ]
        return any(stopped)
