"""What could be loaded: the HF cache of this machine, and its named local datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify

from fdss import places
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.policy import LOCAL_PREFIX
from fdss.storage import cached_datasets, describe_folder
from fdss.wire.names import HUB_CACHE_PATH, LOCAL_PATH


def places_blueprint(config: ServerConfig, catalog: Catalog) -> Blueprint:
    """Return GET /v1/cache/hf and GET /v1/local; paths only with ``show_paths``.

    Without the Hub the cache is told as empty: nothing of it can be loaded. A split of a local
    dataset has a fingerprint once it is loaded; for the list alone nothing is opened.
    """
    blueprint = Blueprint("places", __name__)

    @blueprint.get(HUB_CACHE_PATH)
    def list_hub_cache() -> Response:
        root = places.datasets_cache()
        listed = {"datasets": []} if config.no_hf else cached_datasets(root)
        return jsonify({**listed, "cache_root": str(root) if config.show_paths else None})

    @blueprint.get(LOCAL_PATH)
    def list_local() -> Response:
        known = _fingerprints(catalog)
        described = [
            {
                "name": name,
                **_described(path, config.show_paths, known.get(LOCAL_PREFIX + name, {})),
            }
            for name, path in sorted(config.local.items())
        ]
        return jsonify({"local": described})

    return blueprint


def _described(path: Path, show_path: bool, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    told = {key: value for key, value in describe_folder(path).items() if key != "path"}
    told["splits"] = [
        {**split, "fingerprint": fingerprints.get(split["name"])} for split in told["splits"]
    ]
    return {"path": str(path), **told} if show_path else told


def _fingerprints(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Return the fingerprint of each loaded whole split, by path and split."""
    found: dict[str, dict[str, str]] = {}
    for entry in catalog.entries():
        arguments = entry.arguments
        if arguments == LoadArguments(arguments.path, split=arguments.split):
            found.setdefault(arguments.path, {})[arguments.split] = entry.backend.fingerprint
    return found
