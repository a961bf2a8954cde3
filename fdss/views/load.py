"""POST /v1/load: arguments in, handle out."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from fdss.access import note_handle
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.views.bodies import json_object
from fdss.wire.names import LOAD_PATH


def load_blueprint(config: ServerConfig, catalog: Catalog) -> Blueprint:
    """Return POST /v1/load."""
    blueprint = Blueprint("load", __name__)

    @blueprint.post(LOAD_PATH)
    def load() -> Response:
        arguments = LoadArguments.from_json(
            json_object(config.max_json_depth, config.max_json_items)
        )
        note_handle(arguments.handle)
        return jsonify(catalog.load(arguments).as_json())

    return blueprint
