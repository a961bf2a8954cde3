"""What stands in front of every page: a login, forms of our own only, and headers."""

from __future__ import annotations

import logging
from urllib.parse import quote

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.urls import iri_to_uri

from fdss.access import shown_path
from fdss.errors import AuthenticationRequired, FdssError, Unavailable, kind_of_status
from fdss.sites import check_site

from .forms import check_form, keep_drawn
from .login import own_path
from .pages import SCRIPT_HEADER, error_page, go_to, render
from .sessions import Sessions

#: Paths of programs, which no cookie opens.
API_PATHS = ("/api", "/v1", "/metrics")
#: What is shown without a login.
OPEN_PARTS = ("web.assets", "web.login")
#: Who made the browser ask, as it says itself, if no page of ours did and nobody typed it.
OTHER_SITES = ("cross-site", "same-site")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer browsers would not say which site a form comes from.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

logger = logging.getLogger(__name__)


def is_page() -> bool:
    """Return whether the present request is for a page, and not one of a program."""
    if request.url_rule is not None:
        return request.blueprints[-1:] == ["web"]
    is_program = request.headers.get("Authorization", "").lower().startswith("bearer ")
    return not is_program and not any(
        request.path == path or request.path.startswith(f"{path}/") for path in API_PATHS
    )


def install_guard(app: Flask, web: Blueprint, sessions: Sessions | None) -> None:
    """Let nobody see a page who may not, and send every page with the headers that pages have.

    Args:
        web: The blueprint of all pages.
        sessions: None where no token is wanted.
    """

    @app.before_request
    def admit() -> Response | None:
        if not is_page():
            return None
        try:
            return _admitted(sessions)
        except FdssError as error:
            return error_page(error)

    @app.after_request
    def guard(response: Response) -> Response:
        if is_page():
            # A view may have set stricter ones.
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            keep_drawn(response)
        return response

    @web.errorhandler(FdssError)
    def known(error: FdssError) -> Response:
        if error.status >= 500 and not isinstance(error, Unavailable):
            logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        return error_page(error)

    @web.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return error_page(_told(error))

    @web.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        hint = "the router's log has the details"
        return error_page(FdssError("The router failed to make this page.", hint=hint))


def _admitted(sessions: Sessions | None) -> Response | None:
    """Return what is shown instead of the page, or None."""
    g.needs_login = sessions is not None
    if sessions is None:
        check_site(request.headers)
    else:
        g.session = sessions.find(request.cookies.get(sessions.cookie, ""))
        if g.session is None and not _is_open():
            return _sent_to_login()
    if isinstance(request.routing_exception, HTTPException):
        return error_page(_told(request.routing_exception))
    if request.method == "POST":
        check_form()
    return None


def _is_open() -> bool:
    return request.blueprint in OPEN_PARTS


def _sent_to_login() -> Response:
    if request.method not in ("GET", "HEAD") or SCRIPT_HEADER in request.headers:
        raise AuthenticationRequired("The login is over.", hint="log in again")
    wanted = own_path(request.full_path if request.query_string else request.path)
    if request.headers.get("Sec-Fetch-Site") in OTHER_SITES:
        # The browser kept the cookie back, as it does for links on other sites, and sends it if
        # somebody goes on from this page: by itself it would do what the other site wants.
        return render("through.html", target=iri_to_uri(wanted))
    target = "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"
    return go_to(target)


def _told(error: HTTPException) -> FdssError:
    kind = kind_of_status(error.code or 500)
    text = "There is no such page." if error.code == 404 else f"{error.description or error.name}"
    return kind(text, hint="")
