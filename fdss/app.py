"""The WSGI application: endpoints, the gate in front, errors as JSON, one log line a request."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import unquote

import orjson
from flask import Flask, Response, current_app, g, jsonify, request
from flask.json.provider import JSONProvider
from werkzeug.exceptions import HTTPException

from fdss.access import install_access_log
from fdss.application import Application, install_errors
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import (
    BodyTooLarge,
    FdssError,
    MethodNotAllowed,
    NotFound,
    SettingError,
    kind_of_status,
)
from fdss.gate import install_gate
from fdss.metrics.counting import install_counting, note_refusal
from fdss.scrubbing import Scrubber
from fdss.state import State
from fdss.views.datasets import datasets_blueprint
from fdss.views.health import health_blueprint
from fdss.views.load import load_blueprint
from fdss.views.metrics import metrics_blueprint
from fdss.views.openapi import openapi_blueprint
from fdss.views.places import places_blueprint
from fdss.views.ready import ready_blueprint
from fdss.views.rows import rows_blueprint
from fdss.wire.names import GUARD_HEADERS, JSON

logger = logging.getLogger(__name__)


class _Orjson(JSONProvider):
    """JSON by orjson: strict, in the order of the keys."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(orjson.dumps(args[0] if args else kwargs), mimetype=JSON)


def create_app(config: ServerConfig, catalog: Catalog, state: State | None = None) -> Flask:
    """Return the application that serves a catalog.

    Args:
        state: What is counted and looked after while it answers; None for a state of its own.

    Raises:
        SettingError: The configuration has no token, and does not say ``no_auth`` either.
    """
    if config.auth_token is None and not config.no_auth:
        raise SettingError("A server needs 'auth_token' or 'no_auth'.")
    state = state or State()
    app = Application("fdss", config.max_body_bytes)
    app.json = _Orjson(app)
    install_access_log(app)
    _install_guard_headers(app)
    install_counting(app, state.meter, state.meter.streamed)
    install_gate(app, config.auth_token)
    scrubber = Scrubber(config)
    install_errors(app, lambda error: _response(error, scrubber), _translated, "server", logger)
    for blueprint in (
        health_blueprint(config, state.traffic),
        datasets_blueprint(catalog),
        rows_blueprint(config, catalog, state.traffic),
        load_blueprint(config, catalog),
        places_blueprint(config, catalog),
        openapi_blueprint(),
        ready_blueprint(state.readiness),
        metrics_blueprint(state.meter.board, state.lookups()),
    ):
        app.register_blueprint(blueprint)
    return app


def _install_guard_headers(app: Flask) -> None:
    @app.after_request
    def guard(response: Response) -> Response:
        for name, value in GUARD_HEADERS.items():
            response.headers.add(name, value)
        return response


def _response(error: FdssError, scrubber: Scrubber) -> Response:
    note_refusal(error.code)
    asked = unquote(request.full_path) + g.get("asked", "")
    body = {field: scrubber.scrubbed(text, asked) for field, text in error.as_json().items()}
    response = jsonify(body)
    response.status_code = error.status
    return response


def _translated(error: HTTPException) -> FdssError:
    asked = f"{request.method} {request.path[:200]}"
    status = error.code or 500
    if status == 404:
        return NotFound(f"{asked}: there is no such endpoint.", hint="paths begin with /v1/")
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return MethodNotAllowed(f"{asked}: the endpoint answers to {allowed}.")
    if status == 413:
        most_bytes = current_app.config["MAX_CONTENT_LENGTH"]
        return BodyTooLarge(f"{asked}: the body is larger than {most_bytes:,} bytes.")
    kind = kind_of_status(status)
    return kind(f"{asked}: {error.description or error.name}")
