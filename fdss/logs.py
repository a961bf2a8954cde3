"""Where the server's log lines go: stderr, one format."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure_logs(level: str, process: str = "") -> None:
    """Log from a level on (DEBUG, INFO, WARNING, ERROR) to stderr.

    Args:
        process: What tells this process from its siblings in every line; empty if it has none.
    """
    shown = FORMAT.replace("%(name)s", f"[{process}] %(name)s") if process else FORMAT
    logging.basicConfig(format=shown)
    # Nothing in the format asks for them, and they cost a tenth of a small request.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger().setLevel(level)
    # It warns of every request that waits for a thread, which under load is every request.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
