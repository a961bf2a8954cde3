"""Clients that lost one server at one moment: ``python -m benchmarks.herd``.

How many come back within the same 100 ms, with the pauses that clients make, and with pauses that
double but are not drawn by chance.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import math
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fdss.arguments import LoadArguments
from fdss.client import ResilientRemoteBackend
from fdss.client.finding import Found, OneServer
from fdss.client.patience import Patience
from fdss.errors import OutageTooLong

from .hosts import free_port

BIN_S = 0.1


@dataclass(frozen=True)
class Unjittered(Patience):
    """Pauses that double, the same for all clients."""

    def pause_s(self, tries: int) -> float:
        """Return the pause after so many tries in vain."""
        return float(min(self.longest_s, self.first_s * 2.0 ** (tries - 1)))


@dataclass(frozen=True)
class LostServer(OneServer):
    """A server that answers nobody, and when a client came to it.

    Attributes:
        came_s: On the clock of ``time.monotonic``.
    """

    came_s: list[float] = field(default_factory=list)

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Note that the client comes."""
        self.came_s.append(time.monotonic())
        return super().find(arguments, fingerprint)


def arrivals_s(clients: int, patience: Patience) -> list[float]:
    """Return when clients came again, in seconds after all of them had lost their server."""
    url = f"http://127.0.0.1:{free_port()}"
    servers = [LostServer(url, "token") for _ in range(clients)]
    at_once = threading.Barrier(clients)

    def ask(server: LostServer) -> None:
        backend = ResilientRemoteBackend(LoadArguments("local/rows"), server, patience=patience)
        at_once.wait()
        with contextlib.suppress(OutageTooLong):
            len(backend)

    with ThreadPoolExecutor(clients) as pool:
        for asked in [pool.submit(ask, server) for server in servers]:
            asked.result()
    begun_s = max(server.came_s[0] for server in servers)
    # The last try of each comes when its patience is at its end.
    return sorted(at_s - begun_s for server in servers for at_s in server.came_s[1:-1])


def main() -> None:
    """Print the arrivals per 100 ms of both kinds of pauses."""
    parser = argparse.ArgumentParser("python -m benchmarks.herd", description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0, help="that the server is down")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    for name, kind in (("as clients pause", Patience), ("without chance", Unjittered)):
        came_s = arrivals_s(given.clients, kind(most_s=given.seconds))
        bins = collections.Counter(math.floor(at_s / BIN_S) for at_s in came_s)
        middle = statistics.median(bins.values())
        print(
            f"{name}: {len(came_s)} tries of {given.clients} clients in {given.seconds:g} s;"
            f" in 100 ms {max(bins.values())} at most, {middle:g} in the median of the"
            f" {len(bins)} in which any came"
        )


if __name__ == "__main__":
    main()
