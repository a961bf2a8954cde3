"""How many connections a process can hold: its limit of open files."""

from __future__ import annotations

import logging
import sys

#: Open files a server asks for; each costs nothing until it is used.
WANTED = 1 << 16
#: Files that are no connections: datasets, indexes, logs.
RESERVED = 1000
#: poll() walks over all connections, which costs 5 ms at this number.
MOST_CONNECTIONS = 4000
#: select(), the only choice on Windows, takes 512 sockets.
MOST_SELECTED = 400

logger = logging.getLogger(__name__)


def raise_limit() -> None:
    """Let this process have more open files, up to what the system lets it ask for."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if wanted < RESERVED + MOST_CONNECTIONS:
        logger.warning(
            "the system lets this process open no more than %d files, so it serves fewer than"
            " %d connections",
            wanted,
            MOST_CONNECTIONS,
        )
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open files stays at %d: %s", soft, error)
        return
    logger.info("limit of open files raised from %d to %d", soft, wanted)


def most_connections() -> int:
    """Return how many connections this process can hold and still open its datasets."""
    return min(MOST_CONNECTIONS, _room())


def connections_of(wanted: int | None) -> int:
    """Return how many connections this process serves, given how many its settings ask for."""
    room = _room()
    if wanted is None:
        return min(MOST_CONNECTIONS, room)
    if wanted > room:
        logger.warning("%d connections are more than its open files allow: %d", wanted, room)
    return min(wanted, room)


def _room() -> int:
    if sys.platform == "win32":
        return MOST_SELECTED
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else max(soft - RESERVED, soft // 2)
