"""How much of a server one client may have, and all of them together."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from fdss.errors import Unavailable

#: What a host of IPv6 has for itself, and may take any address of.
OWN_NETWORK_BITS = 64


class Quota:
    """Places that clients take and give back, so many of them and so many for each.

    Clients behind one address, such as the ranks at the far end of an ssh tunnel, are one.
    """

    def __init__(
        self, total: int, per_client: int, *, kind: type[Unavailable], things: str
    ) -> None:
        """Start with all places free.

        Args:
            kind: What is raised when there is none.
            things: What they are, in the plural, for the message.
        """
        self._total = total
        self._per_client = per_client
        self._kind = kind
        self._things = things
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._all = 0

    @property
    def taken(self) -> int:
        """Return how many places are taken."""
        return self._all

    def take(self, address: str | None) -> Callable[[], None]:
        """Take a place for the client at an address; return the call that gives it back.

        Raises:
            Unavailable: There is no place, or none for this client.
        """
        client = client_of(address or "")
        with self._lock:
            if self._all >= self._total:
                raise self._kind(f"The server has {self._all:,} {self._things} and takes no more.")
            if self._taken[client] >= self._per_client:
                raise self._kind(
                    f"This client has {self._taken[client]:,} {self._things} and gets no more."
                )
            self._taken[client] += 1
            self._all += 1
        return self._returner(client)

    def _returner(self, client: str) -> Callable[[], None]:
        held = [client]

        def give_back() -> None:
            with self._lock:
                if not held:
                    return
                held.clear()
                self._all -= 1
                self._taken[client] -= 1
                if not self._taken[client]:
                    del self._taken[client]

        return give_back


@lru_cache(4096)
def client_of(address: str) -> str:
    """Return what stands for the host at an address: itself, or its /64 network in IPv6."""
    try:
        # A zone says by which interface the host is reached, not which host it is.
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, OWN_NETWORK_BITS), strict=False))
