"""Where the server's log lines go: stderr, one format."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logs(level: str) -> None:
    """Log from a level on (DEBUG, INFO, WARNING, ERROR) to stderr."""
    logging.basicConfig(format=FORMAT)
    logging.getLogger().setLevel(level)
    # It warns of every request that waits for a thread, which under load is every request.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
