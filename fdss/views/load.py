"""POST /v1/load: arguments in, handle out."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, jsonify, request

from fdss.access import note_handle
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.errors import BadRequest, UnsupportedMediaType
from fdss.wire.names import JSON, LOAD_PATH


def load_blueprint(catalog: Catalog) -> Blueprint:
    """Return POST /v1/load."""
    blueprint = Blueprint("load", __name__)

    @blueprint.post(LOAD_PATH)
    def load() -> Response:
        arguments = LoadArguments.from_json(_json_object())
        note_handle(arguments.handle)
        return jsonify(catalog.load(arguments).as_json())

    return blueprint


def _json_object() -> dict[str, Any]:
    if request.mimetype not in ("", JSON):
        raise UnsupportedMediaType(f"The body must be JSON, found {request.mimetype!r}.")
    try:
        body = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"Invalid JSON body: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("Request body must be a JSON object.")
    return body
