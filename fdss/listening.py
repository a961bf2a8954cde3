"""The listening socket."""

from __future__ import annotations

import errno
import os
import socket
import sys

from fdss.errors import SettingError
from fdss.hosts import unbracketed

BACKLOG = 1024
SEND_BUFFER_BYTES = 1 << 20


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host and port; port 0 takes any free one.

    A port that another process listens on is never shared with it. ``::`` also takes IPv4
    connections where the system can.

    Raises:
        SettingError: The host is not known, or the port is taken or may not be used.
    """
    family, address = _resolved(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        _set_options(listener, host)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refused(host, port, error) from error
    listener.setblocking(False)
    return listener


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(
            unbracketed(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise SettingError(f"Host {host!r} is not known: {error}.") from error
    # localhost has both, and clients that are told 127.0.0.1 try no other.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]


def _set_options(listener: socket.socket, host: str) -> None:
    if sys.platform == "win32":
        # There SO_REUSEADDR would let two servers share the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if listener.family == socket.AF_INET6:
        both = unbracketed(host) == "::" and socket.has_dualstack_ipv6()
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)


def _refused(host: str, port: int, error: OSError) -> SettingError:
    if error.errno == errno.EADDRINUSE:
        return SettingError(
            f"Port {port} on {host} is taken by another process.",
            hint="choose another with --port, or --port 0 for any free one",
        )
    if isinstance(error, PermissionError):
        return SettingError(
            f"Port {port} on {host} may not be used by this user, or is taken.",
            hint="choose a port above 1023 with --port",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SettingError(f"Cannot listen on port {port} of {host}: {reason}.")
