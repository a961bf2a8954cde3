"""Where a server is reached: its socket, its certificate, the token that clients must send."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, replace

from fdss.authentication import settle
from fdss.banner import Reach, banner
from fdss.config import ServerConfig
from fdss.hosts import url_of
from fdss.listening import bind
from fdss.protection import settle_protection
from fdss.tls.context import Identity

#: Hosts that stand for every address of this machine, and one of those.
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


@dataclass(frozen=True)
class Entrance:
    """What all processes of one server share.

    Attributes:
        socket: The listening socket.
        config: The configuration, with the real port and the token.
        banner: Lines that tell the operator how clients get in.
        run: A name that no other run of a server has.
        identity: What the server proves itself with; None for plain HTTP.
    """

    socket: socket.socket
    config: ServerConfig
    banner: list[str]
    run: str
    identity: Identity | None = None

    @property
    def url(self) -> str:
        """Return the address for clients on this machine, without a trailing slash."""
        scheme = "http" if self.identity is None else "https"
        return _local_url(self.config.host, self.config.port, scheme)


def open_entrance(config: ServerConfig) -> Entrance:
    """Settle TLS, bind the port and settle the token.

    Raises:
        SettingError: The certificate, the port or the token cannot be had, or the host needs TLS.
    """
    protection = settle_protection(config)
    listener = bind(config.host, config.port)
    try:
        port: int = listener.getsockname()[1]
        credential = settle(config, port)
    except BaseException:
        listener.close()
        raise
    settled = replace(
        config, port=port, auth_token=credential.token, auth_token_file=None, regen_token=False
    )
    scheme = protection.scheme
    reach = Reach(
        url_of(config.host, port, scheme),
        _local_url(config.host, port, scheme),
        protection.ca,
        url_of(socket.gethostname(), port, scheme) if config.host in _LOOPBACKS else None,
    )
    lines = [*protection.warnings, *banner(credential, reach, settled)]
    return Entrance(listener, settled, lines, secrets.token_hex(8), protection.identity)


def _local_url(host: str, port: int, scheme: str) -> str:
    """Return a URL that works on this machine, also where a server listens on every address."""
    return url_of(_LOOPBACKS.get(host, host), port, scheme)
