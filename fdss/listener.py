"""waitress on a socket that is already bound, with responses that take turns."""

from __future__ import annotations

import logging
import socket
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from fdss.channels import HIGH_WATER_BYTES, StreamChannel
from fdss.lanes import Lanes
from fdss.listening import BACKLOG

STALL_S = 120.0

ADJUSTMENTS = {
    # select() ends the process at the first descriptor above 1,023.
    "asyncore_use_poll": True,
    "outbuf_high_watermark": HIGH_WATER_BYTES,
    "recv_bytes": 1 << 16,
    "channel_timeout": 120,
    "cleanup_interval": 5,
    "connection_limit": 1000,
    "backlog": BACKLOG,
    "max_request_header_size": 1 << 15,
    "clear_untrusted_proxy_headers": True,
    "log_socket_errors": False,
    "ident": "fdss",
}

logger = logging.getLogger(__name__)


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """A server that closes clients without progress, and outlives those that vanish early.

    Args:
        app: The WSGI application.
        bound: A listening socket.
        row_threads: Threads that make pages of rows, 1 or more.
        max_body_bytes: Largest body of a request.
        stall_s: Seconds without a byte sent after which a client that is owed some is closed.
    """

    channel_class = StreamChannel

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        *,
        row_threads: int,
        max_body_bytes: int,
        stall_s: float = STALL_S,
    ) -> None:
        self._stall_s = stall_s
        super().__init__(
            app,
            {},
            True,
            bound,
            dispatcher=Lanes(row_threads),
            adj=Adjustments(
                threads=row_threads, max_request_body_size=max_body_bytes, **ADJUSTMENTS
            ),
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )

    def set_reuse_addr(self) -> None:
        """Leave the socket's options as they were bound."""

    def handle_accept(self) -> None:
        """Accept a client; one that is gone already must not close the listening socket."""
        try:
            super().handle_accept()
        except (OSError, ValueError):
            logger.debug("a client left before it was accepted", exc_info=True)

    def others_wait(self, channel: StreamChannel) -> bool:
        """Return whether another response waits for a thread that this one has."""
        return bool(self.task_dispatcher.others_wait(channel))

    def maintenance(self, now: float) -> None:
        """Close idle connections, and those that are owed bytes and take none."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            if channel.total_outbufs_len and now - channel.last_activity > self._stall_s:
                logger.info("a client took no byte for %.0f s and is closed", self._stall_s)
                # In the main loop, but outside of its walk over the connections.
                self.trigger.pull_trigger(channel.handle_close)
