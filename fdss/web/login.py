"""Log in with the router's token, and log out."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request

from fdss.failures import Failures

from .pages import go_to, render
from .sessions import LIFE_S, Sessions

MAX_PATH = 2_000


def login_blueprint(sessions: Sessions | None) -> Blueprint:
    """Return the pages that log in and out.

    Args:
        sessions: None where no token is wanted: everybody is in already.
    """
    blueprint = Blueprint("login", __name__)
    failures = Failures()

    @blueprint.before_app_request
    def tell_failures() -> None:
        failures.tell_due()

    @blueprint.get("/login")
    def show() -> Response:
        target = own_path(request.args.get("next", ""))
        if sessions is None or g.session is not None:
            return go_to(target)
        return render("login.html", target=target, is_wrong=False)

    @blueprint.post("/login")
    def log_in() -> Response:
        target = own_path(request.form.get("next", ""))
        if sessions is None:
            return go_to(target)
        given = request.form.get("token", "").strip()
        value = sessions.open(given)
        if value is None:
            failures.note(request.remote_addr or "?", has_token=bool(given))
            return render("login.html", 401, target=target, is_wrong=True)
        response = go_to(target)
        response.set_cookie(
            sessions.cookie,
            value,
            max_age=LIFE_S,
            httponly=True,
            samesite="Strict",
            secure=request.is_secure,
        )
        return response

    @blueprint.post("/logout")
    def log_out() -> Response:
        response = go_to("/login")
        if sessions is not None and g.session is not None:
            sessions.end(g.session)
            response.delete_cookie(
                sessions.cookie, httponly=True, samesite="Strict", secure=request.is_secure
            )
        return response

    return blueprint


def own_path(text: str) -> str:
    """Return a path of this router that a text names, with its query; the first page otherwise."""
    sound = (
        text.startswith("/")
        and not text.startswith("//")
        and "\\" not in text
        and text.isprintable()
        and len(text) <= MAX_PATH
    )
    path = text if sound else "/"
    return "/" if urlsplit(path).path in ("/login", "/logout") else path
