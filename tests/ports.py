"""Ports for processes that are told theirs before they start."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

#: Below those that systems give to outgoing connections.
PORTS = (10_000, 32_000)


def free_port() -> int:
    """Return a port that is free now, and that no outgoing connection is given meanwhile."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """Give a port on which nobody listens until the end of the block, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
