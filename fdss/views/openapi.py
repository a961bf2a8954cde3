"""GET /v1/openapi.json: what the API is, for programs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from fdss.openapi import description
from fdss.wire.names import OPENAPI_PATH


def openapi_blueprint() -> Blueprint:
    """Return GET /v1/openapi.json."""
    blueprint = Blueprint("openapi", __name__)

    @blueprint.get(OPENAPI_PATH)
    def tell_description() -> Response:
        return jsonify(description())

    return blueprint
