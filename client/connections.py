"""Connections that another thread can break off, whatever they are waiting for."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

POOLED_CONNECTIONS = 16


class Hold:
    """One reader's claim on the connections its requests run over.

    A blocked ``recv`` cannot be ended by closing its file descriptor, and a buffered reader that
    is waiting cannot be closed from another thread at all; shutting the socket down ends both.
    """

    def __init__(self) -> None:
        self._connections: set[_Owned] = set()
        self.broken = False

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """Claim the connections of all requests that this thread sends inside the block."""
        reset = _claimant.set(self)
        try:
            yield
        finally:
            _claimant.reset(reset)

    def claim(self, connection: _Owned) -> None:
        """Take over a connection that is about to carry this reader's request.

        Raises:
            ConnectionAbortedError: The hold is broken off.
        """
        self._connections.add(connection)
        if self.broken:
            raise ConnectionAbortedError("The reader has stopped.")

    def release(self) -> None:
        """Give up the claim on all connections: none of the reader's requests is under way."""
        self._connections.clear()

    def break_off(self) -> None:
        """End whatever the reader waits for, and every request it sends from now on."""
        self.broken = True
        for connection in list(self._connections):
            connection.shut_down_for(self)


_claimant: contextvars.ContextVar[Hold | None] = contextvars.ContextVar("claimant", default=None)


class _Owned:
    """What both kinds of connection add: they know whose request they carry.

    A connection goes back to the pool before its last reader has noticed; without the owner, that
    reader's end could shut down the next one's page.
    """

    sock: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._owner: Hold | None = None
        self._owner_lock = threading.RLock()
        super().__init__(*args, **kwargs)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request in the name of the thread's hold, if it has one."""
        owner = _claimant.get()
        with self._owner_lock:
            self._owner = owner
        if owner is not None:
            owner.claim(self)
        super().request(*args, **kwargs)  # type: ignore[misc]

    def shut_down_for(self, owner: Hold) -> None:
        """Shut the socket down if it still carries ``owner``'s request."""
        with self._owner_lock:
            if self._owner is owner and self.sock is not None:
                # Not SSLSocket.shutdown, which takes the TLS object from under the reader.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _Connection(_Owned, HTTPConnection):
    pass


class _SecureConnection(_Owned, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BreakableAdapter(HTTPAdapter):
    """An adapter of ``requests`` whose connections answer to a ``Hold``."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=POOLED_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_owned(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> ProxyManager:
        """Return the pools of connections through a proxy; SOCKS keeps its own kind."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not str(proxy).lower().startswith("socks"):
            _use_owned(manager)
        return manager


def _use_owned(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
