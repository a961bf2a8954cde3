"""Forms that only our own pages can send.

A form carries a value that no other site can read. With a login it is made of the login; without
one it is drawn, and a cookie holds the same: another site can make a browser send the cookie, but
cannot put its value into a form.
"""

from __future__ import annotations

import hmac
import re
import secrets

from flask import Response, g, request

from fdss.errors import Forbidden
from fdss.sites import check_origin

from .sessions import Session

FIELD = "form_token"
COOKIE = "fdss-form"

_DRAWN = re.compile(r"[0-9a-f]{32}", re.ASCII)


def form_token() -> str:
    """Return what a form of the page that is being made must carry."""
    session: Session | None = g.get("session")
    if session is not None:
        return session.form_token
    drawn = _drawn()
    if drawn is None:
        drawn = g.drawn_form_token = g.get("drawn_form_token") or secrets.token_hex(16)
    return drawn


def check_form() -> None:
    """Let pass what was sent by a form of our own.

    Raises:
        CrossSiteRefused: A page of another site sent it.
        Forbidden: It does not have the value of our forms.
    """
    check_origin(request.headers)
    session: Session | None = g.get("session")
    expected = _drawn() if session is None else session.form_token
    given = request.form.get(FIELD, "")
    if expected is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Forbidden(
            "The form is not of a page that is open in this browser, or is out of date.",
            hint="reload the page and send the form again; cookies must be allowed",
        )


def keep_drawn(response: Response) -> None:
    """Put the drawn value into a cookie of the response, if one was drawn."""
    drawn: str | None = g.get("drawn_form_token")
    if drawn is not None:
        response.set_cookie(
            COOKIE, drawn, httponly=True, samesite="Strict", secure=request.is_secure
        )


def _drawn() -> str | None:
    # The one that is there stays: routers on other ports of the host use it too.
    value = request.cookies.get(COOKIE, "")
    return value if _DRAWN.fullmatch(value) else None
