"""A connection under TLS: the turns of a plain one, with a handshake before and records below.

The main loop drives the handshake, so a client that does not go on with it keeps nobody waiting.
An SSL object must never be used by two threads at once: every call of it is made with
``outbuf_lock`` held, which is the lock that a thread holds anyway while it sends. Nothing the
client does to the handshake or to a record leaves this module as an exception.

Rests on private names of waitress 3.0 (``tests/server/test_tls.py`` holds them to it).
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from typing import Any

import orjson

from fdss.channels import VECTORS, StreamChannel
from fdss.errors import BadRequest
from fdss.metrics.meter import BROKEN, LATE, PLAIN_HTTP
from fdss.responses import Views
from fdss.wire.names import JSON

#: What one call encrypts at most. A client that takes less than this in the time after which it
#: counts as stalled seems to take nothing. Measured on one core with pieces of 16, 64 and 256 KiB,
#: the server needs 0.98, 0.87 and 0.84 s of it for a gigabyte.
WRITE_BYTES = 1 << 18
#: What smaller buffers are joined to.
JOIN_BYTES = 1 << 16
#: What one call decrypts at most: no record is longer, so nothing is left that poll() cannot see.
READ_BYTES = 1 << 16

logger = logging.getLogger(__name__)


class SecureChannel(StreamChannel):
    """A connection whose bytes are TLS records.

    ``_shaking`` is true until the handshake is over; ``_wants_write`` while the handshake waits
    for room to write; ``_is_over`` once the goodbye is said. ``_unsent`` is what the last call
    could not send in whole: some of it may have left as a record, so the next call has to be
    given the very same bytes.
    """

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self._is_new = True
        self._shaking = True
        self._wants_write = False
        self._is_over = False
        self._unsent: bytes | memoryview | None = None
        super().__init__(server, server.certificates.wrap(sock), addr, adj, map=map)
        # A handshake has the time that a request has.
        self.unfinished_since_s = time.time()

    # ---- the main loop's side

    def note_overdue(self) -> None:
        """Count a handshake that is not over in time."""
        if self._shaking:
            self.server.meter.failed_handshake(LATE)

    def readable(self) -> bool:
        """Return whether the main loop has to look for bytes."""
        if self._shaking:
            return not self._wants_write and not self.will_close
        return bool(super().readable())

    def writable(self) -> bool:
        """Return whether the main loop has something to send or to close."""
        if self._shaking:
            return self._wants_write or self.will_close
        return super().writable()

    def handle_read(self) -> None:
        """Go on with the handshake, or take bytes of requests."""
        if self._shaking:
            self._shake()
            return
        if self._is_over:
            # What a refused client still sends is thrown away below TLS.
            super().handle_read()
            return
        data = self._decrypted()
        if data:
            self.last_activity = time.time()
            self.received(data)
        elif data is not None:
            self.handle_close()

    def handle_write(self) -> None:
        """Go on with the handshake, or with what is pending."""
        if not self._shaking:
            super().handle_write()
        elif self.will_close:
            self.handle_close()
        else:
            self._shake()

    def _shake(self) -> None:
        with self.outbuf_lock:
            try:
                if self._is_new and self._is_plain_http():
                    self.server.meter.failed_handshake(PLAIN_HTTP)
                    self.handle_close()
                    return
                self.socket.do_handshake()
            except (ssl.SSLWantReadError, BlockingIOError):
                self._wants_write = False
            except ssl.SSLWantWriteError:
                self._wants_write = True
            except (OSError, ValueError) as error:
                logger.debug("no TLS handshake with %s: %s", self.addr, error)
                self.server.meter.failed_handshake(BROKEN)
                self.handle_close()
            else:
                self._shaking = self._wants_write = False
                self.unfinished_since_s = None
                self.last_activity = time.time()

    def _is_plain_http(self) -> bool:
        """Return whether the client speaks HTTP without TLS, after telling it about https."""
        # Below TLS, which would refuse to be left out.
        peek = socket.socket.recv(self.socket, 1, socket.MSG_PEEK)
        self._is_new = False
        if not peek.isalpha():
            return False
        # What is not read would make the system reset the connection, and the answer be lost.
        socket.socket.recv(self.socket, READ_BYTES)
        socket.socket.send(self.socket, _USE_HTTPS)
        return True

    def _decrypted(self) -> bytes | None:
        """Return bytes of the client: none at its end; None when no record is whole yet."""
        parts = []
        with self.outbuf_lock:
            peer = self.socket
            if peer is None:
                return None
            try:
                while data := peer.recv(READ_BYTES):
                    parts.append(data)
                    if not peer.pending():
                        break
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not parts:
                    return None
            except (OSError, ValueError) as error:
                logger.debug("a record of %s is none: %s", self.addr, error)
        return b"".join(parts)

    def say_goodbye(self) -> None:
        """Send the notice that tells an end from a cut."""
        with self.outbuf_lock:
            self._is_over = True
            try:
                if self.socket is not None:
                    self.socket.unwrap()
            except (OSError, ValueError):
                # The client's own notice is not waited for.
                return

    def end_sending(self) -> None:
        """Tell the client that nothing more comes."""
        self.say_goodbye()
        super().end_sending()

    # ---- either side

    def _send_first(self, views: Views, do_close: bool) -> int:
        peer = self.socket
        if peer is None or self._is_over:
            # After the goodbye the socket would take bytes without encrypting them.
            return 0
        piece = self._piece(views) if self._unsent is None else self._unsent
        try:
            sent_bytes = int(peer.send(piece))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._unsent = piece
            return 0
        self._unsent = None
        return sent_bytes

    @staticmethod
    def _piece(views: Views) -> bytes | memoryview:
        """Return what one call sends: small buffers joined, or each would be a record."""
        head = views.first(1)[0]
        if len(head) >= JOIN_BYTES:
            return head[:WRITE_BYTES]
        parts, size = [], 0
        for view in views.first(VECTORS):
            parts.append(view[: JOIN_BYTES - size])
            size += len(parts[-1])
            if size == JOIN_BYTES:
                break
        return b"".join(parts)


def _use_https() -> bytes:
    error = BadRequest("This port speaks HTTPS.", hint="write https:// in the URL")
    body = orjson.dumps(error.as_json())
    head = (
        f"HTTP/1.1 400 Bad Request\r\nContent-Type: {JSON}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_USE_HTTPS = _use_https()
