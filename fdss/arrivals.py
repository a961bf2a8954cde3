"""How requests arrive on a connection: a few at a time, whole, and no more than are answered.

waitress makes a request of everything that a client has sent ahead; here what is sent ahead stays
bytes until the requests before it are answered, so a client that sends thousands costs no more
than another. Rests on private names of waitress 3.0.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from waitress.channel import HTTPChannel

from fdss.parsing import RequestParser
from fdss.refusals import Refusal

#: Requests of one connection that wait for their answers; the rest of what it sent stays bytes.
MOST_PIPELINED = 8
#: How long what a refused client still sends is read and thrown away, so that it reads why.
LINGER_S = 2.0
#: A request that has waited so long is not begun if its client has closed in the meantime.
PATIENT_S = 1.0
#: One that has waited less is begun without a look at its client.
PROMPT_S = 0.05

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ArrivingChannel(HTTPChannel):  # type: ignore[misc]
    """The side of a connection that requests come in by.

    Attributes:
        unfinished_since_s: When the request that has not yet arrived in whole began.
    """

    error_task_class = Refusal

    # waitress has no annotations of its own.
    requests: list[RequestParser]
    request: RequestParser | None
    connected: bool
    will_close: bool
    close_when_flushed: bool
    total_outbufs_len: int
    last_activity: float

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self.unfinished_since_s: float | None = None
        self._unparsed = b""
        self._waits_since_s = 0.0
        self._lingers_until_s: float | None = None
        super().__init__(server, sock, addr, adj, map=map)

    def readable(self) -> bool:
        """Return whether more may arrive."""
        if self._lingers_until_s is not None:
            return True
        return not self._unparsed and bool(super().readable())

    def handle_read(self) -> None:
        """Read what has arrived; throw it away once the client is refused."""
        if self._lingers_until_s is None:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)
        except OSError:
            self.handle_close()

    def received(self, data: bytes) -> bool:
        """Take bytes of requests."""
        with self.requests_lock:
            if self.will_close or self.close_when_flushed:
                return False
            self._unparsed += data
            is_first = not self.requests
            self.parse_arrived()
            if is_first and self.requests:
                self.server.add_task(self)
        return True

    def parse_arrived(self) -> None:
        """Make requests of what has arrived, while not too many wait; under ``requests_lock``."""
        while self._unparsed and len(self.requests) < MOST_PIPELINED:
            request = self.request or RequestParser(self.adj, self.server.request_limits)
            self.request = request
            self._unparsed = self._unparsed[request.received(self._unparsed) :]
            if not request.completed:
                continue
            self.request = None
            if request.empty:
                continue
            if not self.requests:
                self._waits_since_s = time.time()
            self.requests.append(request)
            if request.error:
                # Where the next one begins is not known.
                self._unparsed = b""
        self._note_unfinished()

    def drop_answered(self) -> None:
        """Remove the first request, which is answered; under both locks."""
        if self.requests:
            self.requests.pop(0).close()
        self._waits_since_s = time.time()
        if self.close_when_flushed:
            for waiting in self.requests:
                waiting.close()
            self.requests = []
            self._unparsed = b""
        elif not self.requests:
            self.parse_arrived()

    def is_overdue(self, now_s: float, request_s: float) -> bool:
        """Return whether a request has not arrived, or a refused client not left, in time.

        Args:
            now_s: The present, in seconds of ``time.time``.
            request_s: Seconds that a request has to arrive.
        """
        if self._lingers_until_s is not None:
            return now_s > self._lingers_until_s
        return self.unfinished_since_s is not None and now_s - self.unfinished_since_s > request_s

    def linger(self) -> None:
        """Send no more, and wait a moment for the client to leave.

        Closed with bytes unread, the connection would be reset, and with it what was sent.
        """
        self._lingers_until_s = time.time() + LINGER_S
        self._unparsed = b""
        with suppress(OSError):
            self.end_sending()

    def end_sending(self) -> None:
        """Tell the client that nothing more comes."""
        self.socket.shutdown(socket.SHUT_WR)

    @property
    def has_left(self) -> bool:
        """Return whether the client of the first request is gone, for all that can be known.

        One that has merely ended its own half looks the same as one that is gone. It is answered
        as long as the server keeps up.
        """
        peer = self.socket
        if peer is None:
            return True
        waited_s = time.time() - self._waits_since_s
        if waited_s < PROMPT_S:
            return False
        try:
            ended = not socket.socket.recv(peer, 1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return ended and waited_s > PATIENT_S

    def _note_unfinished(self) -> None:
        request = self.request
        if request is None or self.requests:
            # What comes behind others is not read on before they are answered.
            self.unfinished_since_s = None
            return
        if self.unfinished_since_s is None:
            self.unfinished_since_s = time.time()
        if request.waits_for_continue:
            request.expect_continue = False
            with self.outbuf_lock:
                self.outbufs[0].append(CONTINUE)
                self.total_outbufs_len += len(CONTINUE)
