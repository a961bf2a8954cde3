"""Handles: which are open, and what each one is."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from fdss.access import note_handle
from fdss.catalog import Catalog
from fdss.wire.names import DATASETS_PATH, handle_path, length_path


def datasets_blueprint(catalog: Catalog) -> Blueprint:
    """Return GET /v1/datasets, /v1/datasets/{handle} and its /length.

    The list tells what is open: a handle of an earlier run joins it on its first use.
    """
    blueprint = Blueprint("datasets", __name__)

    @blueprint.get(DATASETS_PATH)
    def list_handles() -> Response:
        return jsonify({"handles": [entry.as_listed() for entry in catalog.entries()]})

    @blueprint.get(handle_path("<handle>"))
    def tell_handle(handle: str) -> Response:
        note_handle(handle)
        return jsonify(catalog.get(handle).as_json())

    @blueprint.get(length_path("<handle>"))
    def tell_length(handle: str) -> Response:
        note_handle(handle)
        return jsonify({"length": len(catalog.get(handle).backend)})

    return blueprint
