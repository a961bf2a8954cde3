"""Connections that another thread can break off, whatever they are waiting for."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError
from urllib3.poolmanager import PoolManager, ProxyManager

from .limits import ClientLimits
from .watching import WatchedResponse

CONNECT_TIMEOUT_S = 10.0
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
    response_class: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._owner: Hold | None = None
        self._owner_lock = threading.RLock()
        super().__init__(*args, **kwargs)
        self.response_class = functools.partial(
            WatchedResponse, limits=ClientLimits.from_environment()
        )

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
                # TLS to a proxy and through it has the socket a level lower.
                held = getattr(self.sock, "socket", self.sock)
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(held, socket.SHUT_RDWR)


class _Connection(_Owned, HTTPConnection):
    pass


class _SecureConnection(_Owned, HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; if the server has left, raise what it said before it did."""
        try:
            super().request(*args, **kwargs)
        except OSError:
            self._raise_alert()
            raise

    def _raise_alert(self) -> None:
        # In TLS 1.3 a refused client certificate is told after the client's handshake has ended.
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            try:
                self.sock.recv(1)
            except ssl.SSLError as error:
                if "ALERT" in (error.reason or ""):
                    raise
            except OSError:
                pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BreakableAdapter(HTTPAdapter):
    """An adapter of ``requests`` whose connections answer to a ``Hold``.

    Attributes:
        context: What https connections are verified with; None where there are none. Neither the
            arguments of a request nor the authorities of certifi add anything to it.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        super().__init__(pool_connections=2, pool_maxsize=POOLED_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_owned(self.poolmanager)
        if self.context is not None:
            _use_context(self.poolmanager, self.context)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> ProxyManager:
        """Return the pools of connections through a proxy; SOCKS keeps its own kind."""
        if self.context is not None and str(proxy).lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = self.context
        is_new = proxy not in self.proxy_manager
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if is_new and not str(proxy).lower().startswith("socks"):
            _use_owned(manager)
        if is_new and self.context is not None:
            _use_context(manager, self.context)
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the connection as the context makes it."""


def _use_owned(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _use_context(manager: PoolManager, context: ssl.SSLContext) -> None:
    kind: Any = manager.pool_classes_by_scheme["https"]

    class Pool(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Some versions of requests bring a context of their own.
            kwargs |= {"ssl_context": context, "cert_reqs": context.verify_mode}
            super().__init__(*args, **kwargs)

    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": Pool}


class Session(requests.Session):
    """A session that leaves the bodies of redirects alone."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Look at no redirect: asked not to follow it, ``requests`` still reads it to its end."""


def answered(
    session: requests.Session, request: requests.Request, timeout_s: float
) -> requests.Response:
    """Return the answer to a request, its body unread; a redirect is an answer like others.

    Args:
        timeout_s: Longest wait for the next byte of the answer, in seconds.
    """
    prepared = session.prepare_request(request)
    send = functools.partial(
        session.send,
        prepared,
        stream=True,
        timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
        allow_redirects=False,
        proxies=dict(session.proxies),
    )
    try:
        return send()
    except requests.ConnectionError as exc:
        # The server may close a kept connection in the moment it is used again.
        if not is_broken(exc):
            raise
        return send()


def is_broken(exc: requests.RequestException) -> bool:
    """Return whether a connection ended, or carried what is no HTTP, before an answer came."""
    return isinstance(exc, requests.ConnectionError) and bool(
        exc.args and isinstance(exc.args[0], ProtocolError)
    )


def context_of(session: requests.Session) -> ssl.SSLContext | None:
    """Return what a session's https connections are verified with."""
    adapter = session.get_adapter("https://")
    return adapter.context if isinstance(adapter, BreakableAdapter) else None
