"""Pages from templates, in which every value is text and never markup."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g, request, url_for
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fdss import __version__
from fdss.errors import FdssError, Unavailable

from .assets import asset
from .figures import FILTERS
from .forms import FIELD, form_token
from .tables import link_with

#: Sent by our scripts, which want the part of a page that changes, and cannot log in.
SCRIPT_HEADER = "FDSS-Script"
SECTIONS = (("Servers", "/servers"), ("Explore", "/explore"), ("Cluster", "/cluster"))


def _form_key() -> Markup:
    """Return the field that every form needs that is posted."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, form_token())


_TEMPLATES = Environment(
    loader=PackageLoader("fdss.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals.update(
    asset=asset,
    form_key=_form_key,
    link_with=link_with,
    sections=SECTIONS,
    url_for=url_for,
    version=__version__,
)
_TEMPLATES.filters.update(FILTERS)


def render(template: str, status: int = 200, **values: object) -> Response:
    """Return the page that a template makes of some values; to our scripts, its block ``live``.

    Args:
        template: A file in the folder ``templates``.
    """
    has_login = g.get("session") is not None
    told = {
        **values,
        "path": request.path,
        "has_login": has_login,
        "is_guarded": g.get("needs_login", True),
        "shows_sections": has_login or not g.get("needs_login", True),
    }
    page = _TEMPLATES.get_template(template)
    if SCRIPT_HEADER in request.headers and "live" in page.blocks:
        text = "".join(page.blocks["live"](page.new_context(told)))
    else:
        text = page.render(told)
    return Response(text, status=status, mimetype="text/html")


def go_to(path: str) -> Response:
    """Return an answer that makes the browser ask for a page of this router."""
    return Response(status=303, headers={"Location": path})


def error_page(error: FdssError) -> Response:
    """Return the page that tells an error."""
    response = render("error.html", error.status, title=_title(error.status), error=error)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _title(status: int) -> str:
    return {
        401: "Log in first",
        403: "Not allowed",
        404: "Not found",
    }.get(status, HTTPStatus(status).phrase)
