"""Requests as bytes, to a server on this machine."""

from __future__ import annotations

import re
import socket

TIMEOUT_S = 60
TOKEN = b"Authorization: Bearer test-token\r\n"
LAST = b"Connection: close\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def connected(port: int, receive_buffer_bytes: int = 0, source: str = "") -> socket.socket:
    """Return a connection to a port; to be closed.

    Args:
        receive_buffer_bytes: What the system keeps for a client that does not read; 0 for its own.
        source: The address to come from; empty for any.
    """
    connection = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(TIMEOUT_S)
    if source:
        connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def sent(port: int, data: bytes, source: str = "") -> bytes:
    """Return all that is answered until the server closes the connection."""
    with connected(port, source=source) as connection:
        connection.sendall(data)
        return received(connection)


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of the answers that stand one behind another."""
    return [int(status) for status in _STATUS.findall(answer)]


def get(path: str, *headers: bytes) -> bytes:
    """Return a request of a path; characters of it are bytes."""
    return b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode("latin-1"), b"".join(headers))


def load(body: bytes, *headers: bytes) -> bytes:
    """Return a load whose length the headers tell."""
    return b"POST /v1/load HTTP/1.1\r\n%s\r\n%s" % (b"".join(headers), body)


def length(body: bytes) -> bytes:
    """Return the header that tells the length of a body."""
    return b"Content-Length: %d\r\n" % len(body)
