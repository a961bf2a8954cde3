"""POST /v1/load: arguments in, handle out."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, g, jsonify, request

from fdss.access import note_handle
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import BadRequest, UnsupportedMediaType
from fdss.views.sizes import check_size
from fdss.wire.names import JSON, LOAD_PATH


def load_blueprint(config: ServerConfig, catalog: Catalog) -> Blueprint:
    """Return POST /v1/load."""
    blueprint = Blueprint("load", __name__)

    @blueprint.post(LOAD_PATH)
    def load() -> Response:
        arguments = LoadArguments.from_json(_json_object(config))
        note_handle(arguments.handle)
        return jsonify(catalog.load(arguments).as_json())

    return blueprint


def _json_object(config: ServerConfig) -> dict[str, Any]:
    if request.mimetype not in ("", JSON):
        raise UnsupportedMediaType(f"The body must be JSON, found {request.mimetype!r}.")
    try:
        body = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"Invalid JSON body: {error}") from error
    # What an error may repeat.
    g.asked = _text(body)
    check_size(body, most_levels=config.max_json_depth, most_items=config.max_json_items)
    if not isinstance(body, dict):
        raise BadRequest("Request body must be a JSON object.")
    return body


def _text(body: Any) -> str:
    text = orjson.dumps(body).decode()
    # JSON doubles the backslashes of a path.
    return text + text.replace("\\\\", "\\")
