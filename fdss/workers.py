"""One of several processes that answer on a port."""

from __future__ import annotations

import logging
import os
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from fdss.config import ServerConfig
from fdss.entrance import Entrance
from fdss.logs import configure_logs
from fdss.shares import Shares
from fdss.signals import RELOADING, accept_signals, on_signals

if TYPE_CHECKING:
    from fdss.serving import Server

#: What a worker tells its supervisor, and is told: to let responses end, and not to.
READY = "ready"
DRAIN = "drain"
CUT = "cut"
#: Seconds above the drain time after which a worker without a supervisor ends whatever happens.
MARGIN_S = 10.0

logger = logging.getLogger(__name__)


def work(entrance: Entrance, shares: Shares, orders: Connection) -> None:
    """Answer at a shared entrance until the supervisor says otherwise, or is gone.

    Args:
        shares: Those of this worker.
        orders: The other end is the supervisor's.
    """
    # Only here: the supervisor names this function, and need not load what serves.
    from fdss.serving import Server
    from fdss.tuning import tune_process

    tune_process()
    configure_logs(entrance.config.log_level, f"worker {shares.index}")
    server = Server(entrance.config, entrance=entrance, shares=shares)
    # Ctrl-C and the end of a terminal reach every process; the supervisor says what they mean.
    on_signals({"SIGTERM": server.drain, "SIGINT": _ignore, RELOADING: _ignore})
    accept_signals()
    threading.Thread(target=_obey, args=(orders, server), daemon=True).start()
    orders.send(READY)
    logger.info("ready")
    server.run()


def _ignore() -> None:
    pass


def _obey(orders: Connection, server: Server) -> None:
    while True:
        try:
            order = orders.recv()
        except (EOFError, OSError):
            break
        if isinstance(order, ServerConfig):
            server.apply(order)
        elif order == DRAIN:
            server.drain()
        elif order == CUT:
            server.drain()
            server.stop()
    logger.error("the supervisor is gone; this worker ends")
    server.drain()
    threading.Event().wait(server.config.drain_timeout + MARGIN_S)
    os._exit(1)
