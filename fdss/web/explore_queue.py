"""Requests of pages for rows, one after the other where a server takes no more at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fdss.errors import Unavailable

#: Requests to one server at a time; its proxy has more turns than these, for others.
TURNS = 3
#: How many wait altogether, and for how long: a browser asks for six pictures at once.
MOST_WAITING = 8
WAIT_S = 5.0


class Queue:
    """Turns at servers; threads share it."""

    def __init__(self, turns: int = TURNS, wait_s: float = WAIT_S) -> None:
        """Take how many have a turn at one server, and how long others wait for theirs."""
        self._turns = turns
        self._wait_s = wait_s
        self._free = threading.Condition()
        self._taken: Counter[str] = Counter()
        self._waiting = 0

    @contextmanager
    def turn(self, server_id: str) -> Iterator[None]:
        """Wait for a turn at a server, take it, and give it back.

        Raises:
            Unavailable: Too many wait, or for too long.
        """
        with self._free:
            self._take(server_id)
        try:
            yield
        finally:
            with self._free:
                self._taken[server_id] -= 1
                # Kept at zero, ids would be kept for ever.
                self._taken += Counter()
                self._free.notify_all()

    def _take(self, server_id: str) -> None:
        if self._taken[server_id] >= self._turns:
            if self._waiting >= MOST_WAITING:
                raise _busy()
            self._waiting += 1
            try:
                is_free = self._free.wait_for(
                    lambda: self._taken[server_id] < self._turns, self._wait_s
                )
            finally:
                self._waiting -= 1
            if not is_free:
                raise _busy()
        self._taken[server_id] += 1


def _busy() -> Unavailable:
    return Unavailable(
        "The server has too much to answer already.", hint="reload the page in a moment"
    )
