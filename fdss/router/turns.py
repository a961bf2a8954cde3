"""Turns at asking servers, of which nobody can take all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fdss.errors import Unavailable

#: Questions under way at a time to one server; with those that wait; and to all servers so.
TURNS_PER_SERVER = 8
OWN_TURNS = 16
TURNS = 28
#: How long a question waits until those before it to the same server are answered.
TURN_TIMEOUT_S = 5.0


class Turns:
    """How many questions are under way, so that one server that hangs stops nobody else's.

    A browser asks for several things of a page at once: whoever finds no turn waits for a while.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Return how many are taken."""
        return self._taken.total()

    @contextmanager
    def taken(self, server_id: str) -> Iterator[None]:
        """Take a turn at a server, and give it back.

        Raises:
            Unavailable: There is none, or none in time.
        """
        with self._changed:
            self._wait(server_id)
            self._taken[server_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken[server_id] -= 1
                # Kept at zero, ids would be kept for ever.
                self._taken += Counter()
                self._changed.notify_all()

    def _wait(self, server_id: str) -> None:
        own = self._taken[server_id] + self._waiting[server_id]
        if self.total + self._waiting.total() >= TURNS or own >= OWN_TURNS:
            raise Unavailable("Too many questions to servers are under way already.")
        self._waiting[server_id] += 1
        is_free = self._changed.wait_for(
            lambda: self._taken[server_id] < TURNS_PER_SERVER, TURN_TIMEOUT_S
        )
        self._waiting[server_id] -= 1
        self._waiting += Counter()
        if not is_free:
            raise Unavailable(
                f"{TURNS_PER_SERVER} questions to this server are under way, and it has answered "
                "none of them for a while."
            )
