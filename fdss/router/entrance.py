"""Where a router is reached: its socket, its certificate, the token that clients must send."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from fdss import places, tokens
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.files import make_private
from fdss.hosts import url_of
from fdss.listening import bind
from fdss.locking import locked
from fdss.protection import Protection, settle_protection
from fdss.tls.context import Identity

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entrance:
    """A bound router.

    Attributes:
        config: The configuration, with the real port.
        token: What clients must send; None without authentication.
        identity: What the router proves itself with; None for plain HTTP.
        url: Address for clients on this machine, without a slash at the end.
        banner: Lines that tell the operator how clients get in.
    """

    socket: socket.socket
    config: ServerConfig
    token: str | None
    identity: Identity | None
    url: str
    banner: list[str]


def open_entrance(config: ServerConfig) -> Entrance:
    """Settle TLS, bind the port and settle the token.

    Raises:
        SettingError: The certificate, the port or the token cannot be had, or the host needs TLS.
    """
    protection = settle_protection(config)
    listener = bind(config.host, config.port)
    try:
        port: int = listener.getsockname()[1]
        token, kept = _settled_token(config)
    except BaseException:
        listener.close()
        raise
    url = url_of(_WILDCARDS.get(config.host, config.host), port, protection.scheme)
    lines = _banner(config, protection, token, kept)
    lines.append(f"router URL: {url_of(config.host, port, protection.scheme)}/")
    return Entrance(listener, replace(config, port=port), token, protection.identity, url, lines)


def _settled_token(config: ServerConfig) -> tuple[str | None, Path | None]:
    """Return the token, and the file where clients on this machine find it; None if in none."""
    if config.no_auth:
        return None, None
    if config.auth_token is not None:
        return config.auth_token, None
    if config.auth_token_file is not None:
        token = tokens.read_private(config.auth_token_file)
        if not tokens.is_sendable(token):
            raise SettingError(
                f"Token file {str(config.auth_token_file)!r} must hold one line of visible ASCII."
            )
        return token, None
    file = places.router_token_file()
    try:
        make_private(file.parent)
        # Routers that start together share one token.
        with locked(file.with_name(".auth_token.lock")):
            return _kept_or_minted(file, regenerate=config.regen_token), file
    except OSError as error:
        raise SettingError(
            f"Token file {str(file)!r} cannot be written: {error.strerror or error}.",
            hint="make its folder yours and writable, or name a token with --auth-token-file",
        ) from error


def _kept_or_minted(file: Path, *, regenerate: bool) -> str:
    kept = None if regenerate else tokens.read(file)
    if kept is not None and tokens.is_sendable(kept):
        if tokens.is_planted(file):
            logger.warning("token file %s could be written by other users; it is replaced", file)
        else:
            if tokens.is_exposed(file):
                tokens.keep(file, kept)
            return kept
    token = tokens.mint()
    tokens.keep(file, token)
    return token


def _banner(
    config: ServerConfig, protection: Protection, token: str | None, kept: Path | None
) -> list[str]:
    lines = list(protection.warnings)
    if token is None:
        lines.append(
            "!! router is running with --no-auth — any host that can reach the bind port can ask "
            "it; it gives out no token of a dataset server"
        )
        return lines
    if kept is not None and not config.quiet_tokens:
        lines.append(f"router auth token: {token}")
    lines.append("clients must send 'Authorization: Bearer <token>'")
    if kept is not None:
        lines.append(f"persisted token file: {kept}")
    return lines
