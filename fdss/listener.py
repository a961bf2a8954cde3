"""waitress on a socket that is already bound, with responses that take turns."""

from __future__ import annotations

import errno
import logging
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from fdss.channels import HIGH_WATER_BYTES, StreamChannel
from fdss.descriptors import most_connections
from fdss.lanes import Lanes
from fdss.listening import BACKLOG
from fdss.settings import DEFAULT_IDLE_S, DEFAULT_STALL_S
from fdss.shares import Shares

LOOP_TIMEOUT_S = 1.0
#: How long a connection is left to a worker that has fewer, before looking again.
DECLINE_S = 0.02
#: How long nothing is accepted when the process can open no more files.
EXHAUSTED_S = 1.0
#: Connections above the limit, which are told that they are.
REFUSABLE = 64

MOST_CLEANUP_S = 5.0
REQUEST_S = 30.0

ADJUSTMENTS = {
    # select() ends the process at the first descriptor above 1,023.
    "asyncore_use_poll": True,
    "outbuf_high_watermark": HIGH_WATER_BYTES,
    "recv_bytes": 1 << 16,
    "backlog": BACKLOG,
    "max_request_header_size": 1 << 15,
    # No header of a proxy is used, so none has to be removed.
    "clear_untrusted_proxy_headers": False,
    "log_socket_errors": False,
    "ident": "fdss",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a listener gives to its clients.

    Attributes:
        row_threads: Threads that make pages of rows, 1 or more.
        max_body_bytes: Largest body of a request.
        stall_s: Seconds without a byte sent after which a client that is owed some is closed.
        idle_s: Seconds after which a connection without a request is closed.
        request_s: Seconds that a request has to arrive in whole.
        connections: Connections served at a time.
    """

    row_threads: int
    max_body_bytes: int
    stall_s: float = DEFAULT_STALL_S
    idle_s: float = DEFAULT_IDLE_S
    request_s: float = REQUEST_S
    connections: int = field(default_factory=most_connections)


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """A server that closes clients without progress, and outlives those that vanish early.

    Args:
        app: The WSGI application.
        bound: A listening socket.
        shares: The connections of all workers on that socket; None if there is one process.
    """

    channel_class = StreamChannel

    # waitress has no annotations of its own.
    active_channels: dict[int, StreamChannel]

    def __init__(
        self, app: Any, bound: socket.socket, limits: Limits, shares: Shares | None = None
    ) -> None:
        self._limits = limits
        self._shares = shares
        self._accepts_at = 0.0
        super().__init__(
            app,
            {},
            True,
            bound,
            dispatcher=Lanes(limits.row_threads),
            adj=Adjustments(
                threads=limits.row_threads,
                max_request_body_size=limits.max_body_bytes,
                connection_limit=limits.connections + REFUSABLE,
                **ADJUSTMENTS,
            ),
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )
        self.take_limits(limits)
        if shares is not None:
            shares.tell(0)

    def take_limits(self, limits: Limits) -> None:
        """Apply other timeouts from now on; the other limits stay."""
        self._limits = limits
        self.adj.cleanup_interval = min(
            MOST_CLEANUP_S, limits.stall_s / 4, limits.idle_s / 4, limits.request_s / 4
        )
        self.next_channel_cleanup = 0

    def set_reuse_addr(self) -> None:
        """Leave the socket's options as they were bound."""

    @property
    def is_full(self) -> bool:
        """Return whether the next connection is one too many."""
        return len(self.active_channels) >= self._limits.connections

    @property
    def patience_s(self) -> float:
        """Return the most seconds that the main loop may wait for something to happen."""
        waits_s = self._accepts_at - time.monotonic()
        return min(waits_s, LOOP_TIMEOUT_S) if waits_s > 0 else LOOP_TIMEOUT_S

    def readable(self) -> bool:
        """Return whether the main loop has to look for new connections; called at every turn."""
        wanted: bool = super().readable()
        if self._shares is not None and self.accepting:
            self._shares.tell(len(self.active_channels))
        return wanted and time.monotonic() >= self._accepts_at

    def handle_accept(self) -> None:
        """Accept a client; one that is gone already must not close the listening socket."""
        if self._shares is not None and self._shares.is_ahead():
            self._accepts_at = time.monotonic() + DECLINE_S
            return
        try:
            super().handle_accept()
        except (OSError, ValueError):
            logger.debug("a client left before it was accepted", exc_info=True)

    def accept(self) -> Any:
        """Return the next client and its address; None if there is none after all."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                logger.error("no client is accepted for a while: %s", error)
                self._accepts_at = time.monotonic() + EXHAUSTED_S
            raise

    def refuse_more(self) -> None:
        """Accept no more clients; those that are connected stay."""
        self.accepting = False
        if self._shares is not None:
            self._shares.leave()
        self.del_channel()
        self.socket.close()

    def others_wait(self, channel: StreamChannel) -> bool:
        """Return whether another response waits for a thread that this one has."""
        return bool(self.task_dispatcher.others_wait(channel))

    def maintenance(self, now: float) -> None:
        """Close idle connections, those that are owed bytes and take none, and endless requests."""
        limits = self._limits
        for channel in list(self.active_channels.values()):
            quiet_s = now - channel.last_activity
            begun_s = channel.unfinished_since_s
            if begun_s is not None and now - begun_s > limits.request_s:
                logger.info("a request did not arrive within %.0f s", limits.request_s)
                self.trigger.pull_trigger(channel.handle_close)
                continue
            if channel.total_outbufs_len:
                # A thread that takes long to make a chunk is the server's fault, not the client's.
                if not channel.is_in_turn and quiet_s > limits.stall_s:
                    logger.info("a client took no byte for %.0f s and is closed", quiet_s)
                    # In the main loop, but outside of its walk over the connections.
                    self.trigger.pull_trigger(channel.handle_close)
            elif not channel.requests and quiet_s > limits.idle_s:
                channel.will_close = True
