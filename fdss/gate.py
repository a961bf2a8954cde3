"""The gate in front of every endpoint that is not open."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, request

from fdss import tokens
from fdss.errors import AuthenticationRequired
from fdss.failures import Failures
from fdss.sites import check_site
from fdss.wire.names import AUTH_STATUS_PATH, HEALTH_PATH

OPEN_PATHS = frozenset({HEALTH_PATH, AUTH_STATUS_PATH})


def install_gate(
    app: Flask, token: str | None, is_page: Callable[[], bool] = lambda: False
) -> None:
    """Let no request but those to open paths pass without the token.

    Unknown paths are behind the gate too, so without the token nothing tells which ones exist.
    Where no token is wanted, pages of other sites are kept out: a browser on a machine that
    reaches the server would ask for them.

    Args:
        token: What requests must carry; None lets everybody in.
        is_page: Whether the present request is for a page, which has a gate of its own.
    """
    failures = Failures()

    @app.before_request
    def check_token() -> None:
        failures.tell_due()
        if is_page():
            return
        if token is None:
            check_site(request.headers)
            return
        if request.path in OPEN_PATHS:
            return
        given = _bearer(request.headers.get("Authorization", ""))
        if given is None or not tokens.matches(given, token):
            failures.note(request.remote_addr or "?", has_token=given is not None)
            raise AuthenticationRequired("authentication required")


def _bearer(header: str) -> str | None:
    scheme, *given = header.split(None, 1)[:2] or [""]
    return given[0].strip() if given and scheme.lower() == "bearer" else None
