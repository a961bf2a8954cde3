"""The web page of a router: its servers, their datasets, the cluster.

A part of it is a module with a function that returns a blueprint, called in ``install_web``. Its
views return ``render("name.html", …)`` of ``pages``, with a template that extends ``base.html``.
Login, form tokens, headers and error pages are seen to for every blueprint there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Flask

from . import assets
from .cluster import cluster_blueprint
from .explore import explore_blueprint
from .guard import install_guard
from .login import login_blueprint
from .server import server_blueprint
from .servers import servers_blueprint
from .sessions import Sessions

#: Paths, as a regular expression, of pages that need no answer of a server.
FROM_MEMORY = (
    "/|/login|/logout|/cluster|/explore|/static/.*|/servers(?:/add|/[^/]+(?:/remove|/refresh)?)?"
)

if TYPE_CHECKING:
    from fdss.router.router import Router


def install_web(app: Flask, router: Router, token: str | None) -> None:
    """Add the pages of a router to its application.

    Args:
        token: What people log in with; None lets everybody see the pages.
    """
    web = Blueprint("web", __name__)
    sessions = Sessions(token) if token is not None else None
    install_guard(app, web, sessions)
    for part in (
        assets.blueprint,
        login_blueprint(sessions),
        servers_blueprint(router),
        server_blueprint(router),
        explore_blueprint(router),
        cluster_blueprint(router),
    ):
        web.register_blueprint(part)
    app.register_blueprint(web)
