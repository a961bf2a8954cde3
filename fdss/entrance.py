"""Where a server is reached: its socket, and the token that clients must send."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, replace

from fdss.authentication import settle
from fdss.banner import banner
from fdss.config import ServerConfig
from fdss.hosts import url_of
from fdss.listening import bind


@dataclass(frozen=True)
class Entrance:
    """What all processes of one server share.

    Attributes:
        socket: The listening socket.
        config: The configuration, with the real port and the token.
        banner: Lines that tell the operator how clients get in.
        run: A name that no other run of a server has.
    """

    socket: socket.socket
    config: ServerConfig
    banner: list[str]
    run: str

    @property
    def url(self) -> str:
        """Return the address for clients on this machine, without a trailing slash."""
        host = self.config.host
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)
        return url_of(reachable, self.config.port)


def open_entrance(config: ServerConfig) -> Entrance:
    """Bind the port and settle the token.

    Raises:
        SettingError: The port or the token cannot be had.
    """
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
    lines = banner(credential, url_of(config.host, port), quiet=config.quiet_tokens)
    return Entrance(listener, settled, lines, secrets.token_hex(8))
