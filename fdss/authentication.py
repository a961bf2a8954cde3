"""Which token a starting server asks for, and where it comes from."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from fdss import claims, tokens
from fdss.config import ServerConfig
from fdss.errors import SettingError

logger = logging.getLogger(__name__)


class Origin(Enum):
    """Where a server's token comes from."""

    NONE = "no authentication"
    GIVEN = "given by the operator"
    MINTED = "fresh"
    REUSED = "kept by an earlier run"
    REGENERATED = "fresh, replacing a kept one"


@dataclass(frozen=True)
class Credential:
    """The token of one server.

    Attributes:
        token: What clients must send; None without authentication.
        file: Where it is kept for clients on this machine; None if it is not.
    """

    origin: Origin
    token: str | None = field(default=None, repr=False)
    file: Path | None = None


def settle(config: ServerConfig, port: int) -> Credential:
    """Return the token of the server on a port; a fresh one is kept in the port's file.

    To be called once the port is bound: only then is the file this server's to write. Its other
    files are claimed with it.

    Raises:
        SettingError: The token file cannot be used, or other users can.
    """
    claims.claimed_name(config.host, port, is_passing=config.port == 0)
    if config.no_auth:
        return Credential(Origin.NONE)
    if config.auth_token is not None:
        return Credential(Origin.GIVEN, config.auth_token)
    if config.auth_token_file is not None:
        return Credential(Origin.GIVEN, _sendable(config.auth_token_file))
    file = claims.token_file(config.host, port)
    kept = None if config.regen_token else _kept(file)
    try:
        if kept is not None:
            return _reused(file, kept)
        token = tokens.mint()
        tokens.keep(file, token)
    except OSError as error:
        raise SettingError(
            f"Token file {str(file)!r} cannot be written: {error.strerror or error}.",
            hint="make its folder yours and writable, or name a token with --auth-token-file",
        ) from error
    origin = Origin.REGENERATED if config.regen_token else Origin.MINTED
    return Credential(origin, token, file)


def _sendable(file: Path) -> str:
    token = tokens.read_private(file)
    if not tokens.is_sendable(token):
        raise SettingError(f"Token file {str(file)!r} must hold one line of visible ASCII.")
    return token


def _kept(file: Path) -> str | None:
    """Return the token of an earlier run, unless another user may have put it there."""
    token = tokens.read(file)
    if token is None or not tokens.is_sendable(token):
        return None
    if tokens.is_planted(file):
        logger.warning("token file %s could be written by other users; a new one replaces it", file)
        return None
    return token


def _reused(file: Path, token: str) -> Credential:
    if tokens.is_exposed(file):
        logger.warning(
            "token file %s could be read by other users; its mode is now 0600, "
            "and --regen-token replaces the token",
            file,
        )
        tokens.keep(file, token)
    return Credential(Origin.REUSED, token, file)
