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
    if sys.platform == "win32":
        return MOST_SELECTED
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(soft - RESERVED, soft // 2))
