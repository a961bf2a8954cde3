"""waitress on a socket that is already bound, with responses that take turns."""

from __future__ import annotations

import errno
import logging
import re
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from fdss.admission import Quota
from fdss.channels import HIGH_WATER_BYTES, StreamChannel
from fdss.descriptors import most_connections
from fdss.errors import TooManyConnections
from fdss.lanes import LOAD_THREADS, ROW_PATHS, Lanes
from fdss.listening import BACKLOG
from fdss.metrics.meter import Meter
from fdss.metrics.server import ServerMeter
from fdss.parsing import RequestLimits
from fdss.secure_channel import SecureChannel
from fdss.settings import BY_KEY, DEFAULT_IDLE_S, DEFAULT_REQUEST_S, DEFAULT_STALL_S
from fdss.shares import Shares
from fdss.tls.context import Certificates

LOOP_TIMEOUT_S = 1.0
#: How long a connection is left to a worker that has fewer, before looking again.
DECLINE_S = 0.02
#: How long nothing is accepted when the process can open no more files.
EXHAUSTED_S = 1.0
#: Connections above the limit, which are told that they are.
REFUSABLE = 64
#: How long a connection above the limit has to ask, and be told.
REFUSABLE_S = 2.0

MOST_CLEANUP_S = 1.0
#: How long a client takes none of the bytes it is owed before its connection counts as stalled.
STALLED_S = 5.0

ADJUSTMENTS = {
    # select() ends the process at the first descriptor above 1,023.
    "asyncore_use_poll": True,
    "outbuf_high_watermark": HIGH_WATER_BYTES,
    "recv_bytes": 1 << 16,
    "backlog": BACKLOG,
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
        row_paths: Paths of the requests that these threads answer, and no others.
        load_threads: Threads for what may take long, 1 or more.
        max_body_bytes: Largest body of a request.
        max_loads: Loads and listings that may wait for a thread.
        requests: How large the head of a request may be.
        stall_s: Seconds without a byte sent after which a client that is owed some is closed.
        idle_s: Seconds after which a connection without a request is closed.
        request_s: Seconds that a request has to arrive in whole.
        connections: Connections served at a time.
        connections_per_client: Those of them that one client may have.
    """

    row_threads: int
    row_paths: re.Pattern[str] = ROW_PATHS
    load_threads: int = LOAD_THREADS
    max_body_bytes: int = BY_KEY["max_body_bytes"].default
    max_loads: int = BY_KEY["max_loads"].default
    requests: RequestLimits = RequestLimits()
    stall_s: float = DEFAULT_STALL_S
    idle_s: float = DEFAULT_IDLE_S
    request_s: float = DEFAULT_REQUEST_S
    connections: int = field(default_factory=most_connections)
    connections_per_client: int = BY_KEY["max_connections_per_client"].default


class Listener(TcpWSGIServer):  # type: ignore[misc]
    """A server that closes clients without progress, and outlives those that vanish early.

    Args:
        app: The WSGI application.
        bound: A listening socket.
        shares: The connections of all workers on that socket; None if there is one process.
        certificates: What TLS connections begin with; None for plain HTTP.
        meter: What counts connections, and requests that are none; None for one of its own.
    """

    channel_class: type[StreamChannel] = StreamChannel

    # waitress has no annotations of its own.
    active_channels: dict[int, StreamChannel]

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        limits: Limits,
        shares: Shares | None = None,
        certificates: Certificates | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.meter = meter or ServerMeter.of()
        self._limits = limits
        self._shares = shares
        self._accepts_at = 0.0
        if certificates is not None:
            self.channel_class = SecureChannel
            self.certificates = certificates
        self.connections = Quota(
            limits.connections,
            limits.connections_per_client,
            kind=TooManyConnections,
            things="connections",
        )
        super().__init__(
            app,
            {},
            True,
            bound,
            dispatcher=Lanes(
                limits.row_threads, limits.max_loads, limits.row_paths, limits.load_threads
            ),
            adj=Adjustments(
                threads=limits.row_threads,
                # It refuses what reaches them, not only what goes beyond.
                max_request_body_size=limits.max_body_bytes + 1,
                max_request_header_size=limits.requests.header_bytes + 1,
                # Bodies stay in memory: a file for each would let strangers fill the disk.
                inbuf_overflow=limits.max_body_bytes + 1,
                connection_limit=limits.connections + REFUSABLE,
                url_scheme="http" if certificates is None else "https",
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
    def request_limits(self) -> RequestLimits:
        """Return how large the head of a request may be."""
        return self._limits.requests

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
        except OSError:
            logger.debug("a client left before it was accepted", exc_info=True)

    def accept(self) -> Any:
        """Return the next client and its address; None if there is none after all."""
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                logger.error("no client is accepted for a while: %s", error)
                self._accepts_at = time.monotonic() + EXHAUSTED_S
            raise
        refused = len(self.active_channels) - self.connections.taken
        if accepted is not None and refused >= REFUSABLE:
            # More than can be told why.
            accepted[0].close()
            return None
        return accepted

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
        channels = list(self.active_channels.values())
        stalled = 0
        for channel in channels:
            quiet_s = now - channel.last_activity
            is_left_over = channel.is_one_too_many and now - channel.creation_time > REFUSABLE_S
            if is_left_over or channel.is_overdue(now, limits.request_s):
                logger.debug("a connection whose request did not arrive in time is closed")
                channel.note_overdue()
                self.trigger.pull_trigger(channel.handle_close)
                continue
            if channel.total_outbufs_len:
                # A thread that takes long to make a chunk is the server's fault, not the client's.
                if channel.is_in_turn:
                    continue
                stalled += quiet_s > min(STALLED_S, limits.stall_s / 2)
                if quiet_s > limits.stall_s:
                    self.meter.stalled()
                    logger.info("a client took no byte for %.0f s and is closed", quiet_s)
                    # In the main loop, but outside of its walk over the connections.
                    self.trigger.pull_trigger(channel.handle_close)
            elif not channel.requests and quiet_s > limits.idle_s:
                channel.will_close = True
        self.meter.connected(len(channels), stalled)
