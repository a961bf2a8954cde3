"""What several processes know of one another: connections and traffic."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnContext
from typing import Any

from fdss.metrics.board import Board
from fdss.metrics.server import ServerMeter
from fdss.traffic import Traffic

#: A worker whose main loop has not turned for so long takes no part; it turns once a second.
STALE_S = 3.0
#: With many connections being exact is worth less than being quick.
LEEWAY = 8

_NOBODY = -1


@dataclass(frozen=True)
class Shares:
    """How many connections each worker has, in memory that all workers see.

    Attributes:
        counts: Connections of each worker; -1 while it does not accept any.
        turns: When the main loop of each worker turned last, in seconds of ``time.monotonic``.
        all_traffic: The streams of all workers.
        board: What all of them count.
        index: The worker that this is the view of.
    """

    counts: Any
    turns: Any
    all_traffic: Traffic
    board: Board
    index: int = 0

    @classmethod
    def of(cls, workers: int, context: SpawnContext) -> Shares:
        """Return the shares of a number of workers, none of which accepts yet."""
        return cls(
            context.RawArray("q", [_NOBODY] * workers),
            context.RawArray("d", [0.0] * workers),
            Traffic.of(workers, context),
            ServerMeter.of(workers, context).board,
        )

    @property
    def traffic(self) -> Traffic:
        """Return this worker's view of the streams of all."""
        return replace(self.all_traffic, index=self.index)

    @property
    def meter(self) -> ServerMeter:
        """Return what this worker counts with."""
        return ServerMeter(replace(self.board, index=self.index))

    def bury(self) -> None:
        """Take out what a worker that is no more has left, but what it counted."""
        self.leave()
        self.traffic.clear()
        self.meter.board.end()

    def tell(self, count: int) -> None:
        """Tell the others how many connections this worker has now."""
        self.turns[self.index] = time.monotonic()
        self.counts[self.index] = count

    def leave(self) -> None:
        """Tell the others not to count on this worker."""
        self.counts[self.index] = _NOBODY

    def is_ahead(self) -> bool:
        """Return whether a worker with clearly fewer connections is there to take the next."""
        oldest = time.monotonic() - STALE_S
        least = min(
            (
                count
                for count, turned in zip(self.counts, self.turns, strict=True)
                if count != _NOBODY and turned > oldest
            ),
            default=0,
        )
        mine: int = self.counts[self.index]
        return mine > least + least // LEEWAY
