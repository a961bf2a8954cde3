"""Which of several servers a client is sent to: the better of two drawn at random.

Power of two choices (Mitzenmacher 2001): nearly as even as asking for the least busy, and clients
that come at once do not all go to the same server. What a server tells of itself is seconds old,
so clients sent there meanwhile are counted in.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from .knowledge import Knowledge, Server

#: Half of the clients sent to a server are counted no longer after this time.
HALF_LIFE_S = 10.0


class Balance:
    """Chooses servers, and remembers how many clients it has sent to each."""

    def __init__(self, knowledge: Knowledge, random_: random.Random | None = None) -> None:
        self._knowledge = knowledge
        self._random = random_ or random.Random()
        self._lock = threading.Lock()
        self._sent: dict[str, tuple[float, float]] = {}

    def choose(self, servers: Sequence[Server]) -> Server:
        """Return one of the servers, 1 or more; those that failed a client only if all did."""
        now_s = self._knowledge.now_s()
        trusted = [server for server in servers if server.suspected_until_s <= now_s]
        with self._lock:
            drawn = list(trusted or servers)
            self._random.shuffle(drawn)
            first, second = drawn[0], drawn[-1] if len(drawn) < 2 else drawn[1]
            chosen = second if self._share(second, first, now_s) < 0.5 else first
            self._sent[chosen.server_id] = self._sent_to(chosen, now_s) + 1.0, now_s
        return chosen

    def _share(self, one: Server, other: Server, now_s: float) -> float:
        """Return the part of the work of both that ``one`` has: streams and bytes count alike."""
        streams = self._sent_to(one, now_s), self._sent_to(other, now_s)
        if one.load is None or other.load is None:
            return _part(*streams)
        told = streams[0] + one.load.streams, streams[1] + other.load.streams
        return (_part(*told) + _part(one.load.bytes_per_s, other.load.bytes_per_s)) / 2

    def _sent_to(self, server: Server, now_s: float) -> float:
        count, at_s = self._sent.get(server.server_id, (0.0, now_s))
        return float(count * 0.5 ** ((now_s - at_s) / HALF_LIFE_S))


def _part(one: float, other: float) -> float:
    return one / (one + other) if one + other > 0 else 0.5
