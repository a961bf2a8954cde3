"""Connections whose answers end at a deadline, however slowly they come.

The timeouts of sockets begin anew with every byte: a server that sends one now and then would
keep whoever waits for it as long as it likes, in the head of an answer as in its body.
"""

from __future__ import annotations

import functools
import io
import socket
import ssl
import time
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.util.connection import allowed_gai_family


class Deadline:
    """When the answer under way has to be here; that of one question after the other."""

    def __init__(self) -> None:
        self._at_s = 0.0

    def begin(self, timeout_s: float) -> None:
        """Give the next answer so many seconds."""
        self._at_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            TimeoutError: There are none.
        """
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("it answered too slowly")
        return left_s


class TimedAdapter(HTTPAdapter):
    """An adapter of ``requests`` whose answers end at a deadline.

    With a context its https connections are verified with that one, and nothing else.
    """

    def __init__(self, deadline: Deadline, context: ssl.SSLContext | None = None) -> None:
        self._deadline = deadline
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=2)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._time(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> ProxyManager:
        """Return the pools of connections through a proxy; SOCKS keeps its own kind."""
        is_new = proxy not in self.proxy_manager
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if is_new and not str(proxy).lower().startswith("socks"):
            self._time(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Verify with the context alone."""
        host, told = super().build_connection_pool_key_attributes(request, verify, cert)
        if self._context is None:
            return host, told
        return host, {"ssl_context": self._context, "cert_reqs": self._context.verify_mode}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the connection as the context makes it."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def _time(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {
            "http": _timed_pool(HTTPConnectionPool, HTTPConnection, self._deadline),
            "https": _timed_pool(HTTPSConnectionPool, HTTPSConnection, self._deadline),
        }


def _timed_pool(pool: Any, connection: Any, deadline: Deadline) -> Any:
    class Connection(connection):  # type: ignore[misc]
        _dns_host: str

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.response_class = functools.partial(_TimedResponse, deadline=deadline)

        def _new_conn(self) -> Any:
            """Try the addresses of the host in turn, each for as long as is left."""
            host, last = self._dns_host, None
            for address in _addresses(host, self.port):
                self._dns_host, self.timeout = address, deadline.left_s()
                try:
                    return super()._new_conn()
                except HTTPError as error:
                    last = error
                finally:
                    self._dns_host = host
            raise last or NewConnectionError(self, f"{host!r} has no address")

    class Pool(pool):  # type: ignore[misc]
        ConnectionCls = Connection

    return Pool


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; the host itself where they are not known."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
    except OSError:
        # Whoever connects to it says so in the words of the transport.
        return [host]
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, deadline: Deadline, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        received: Any = self.fp
        self.fp = io.BufferedReader(_Timed(received.detach(), sock, deadline))


class _Timed(io.RawIOBase):
    """The bytes of a socket until a deadline."""

    def __init__(self, received: Any, sock: Any, deadline: Deadline) -> None:
        self._received = received
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left_s())
        count: int | None = self._received.readinto(buffer)
        return count

    def close(self) -> None:
        if not self.closed:
            self._received.close()
        super().close()
