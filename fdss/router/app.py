"""The WSGI application of a router: its parts, the gate in front, errors as JSON."""

from __future__ import annotations

from flask import Blueprint, Flask, Response

from fdss.access import install_access_log
from fdss.application import Application
from fdss.expiry import Expiry
from fdss.gate import install_gate
from fdss.web import install_web
from fdss.web.guard import is_page
from fdss.wire.names import API_VERSION, AUTH_STATUS_PATH, HEALTH_PATH, OPENAPI_PATH

from .answers import install_errors, json_answer
from .cluster_views import cluster_blueprint
from .metrics import install_vitals
from .names import SERVICE
from .openapi import description
from .proxy_views import proxy_blueprint
from .registry_views import registry_blueprint
from .router import Router

#: Room for a bundle, a label and a token, or the arguments of a load.
MAX_BODY_BYTES = 1 << 16


def create_router_app(router: Router, token: str | None, expiry: Expiry | None = None) -> Flask:
    """Return the application that answers for a router.

    Args:
        token: What clients must send; None lets everybody in, who then get no tokens either.
        expiry: When its certificate expires; None without TLS.
    """
    app = Application("fdss.router", MAX_BODY_BYTES)
    install_access_log(app)
    install_gate(app, token, is_page)
    install_errors(app)
    for blueprint in (
        _own_blueprint(has_token=token is not None),
        cluster_blueprint(router, gives_tokens=token is not None),
        registry_blueprint(router.registry),
        proxy_blueprint(router),
    ):
        app.register_blueprint(blueprint)
    install_web(app, router, token)
    # After all others, which it counts.
    install_vitals(app, router, expiry)
    return app


def _own_blueprint(*, has_token: bool) -> Blueprint:
    blueprint = Blueprint("own", __name__)
    health = {
        "status": "ok",
        "service": SERVICE,
        "version": API_VERSION,
        "policy": {"auth_required": has_token},
    }

    @blueprint.get(HEALTH_PATH)
    def tell_health() -> Response:
        return json_answer(health)

    @blueprint.get(AUTH_STATUS_PATH)
    def tell_auth_status() -> Response:
        return json_answer({"auth_required": has_token})

    @blueprint.get(OPENAPI_PATH)
    def tell_description() -> Response:
        return json_answer(description())

    return blueprint
