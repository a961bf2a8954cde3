"""The gate in front of every endpoint that is not open."""

from __future__ import annotations

from flask import Flask, request

from fdss import tokens
from fdss.errors import AuthenticationRequired
from fdss.wire.names import AUTH_STATUS_PATH, HEALTH_PATH

OPEN_PATHS = frozenset({HEALTH_PATH, AUTH_STATUS_PATH})


def install_gate(app: Flask, token: str | None) -> None:
    """Let no request but those to open paths pass without the token.

    Unknown paths are behind the gate too, so without the token nothing tells which ones exist.

    Args:
        token: What requests must carry; None lets everybody in.
    """

    @app.before_request
    def check_token() -> None:
        if token is None or request.path in OPEN_PATHS:
            return
        given = _bearer(request.headers.get("Authorization", ""))
        if given is None or not tokens.matches(given, token):
            raise AuthenticationRequired("authentication required")


def _bearer(header: str) -> str | None:
    scheme, *given = header.split(None, 1)[:2] or [""]
    return given[0].strip() if given and scheme.lower() == "bearer" else None
