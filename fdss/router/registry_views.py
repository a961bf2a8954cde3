"""The registry for programs: it is listed and changed, and a server's bundle is given."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from fdss.errors import BadBundle, BadParameter
from fdss.views.bodies import json_object

from .answers import json_answer
from .names import REGISTRY_PATH, bundle_path, entry_path
from .registrations import Registrations

MOST_LEVELS = 4
MOST_ITEMS = 100


def registry_blueprint(registry: Registrations) -> Blueprint:
    """Return the endpoints of the registry; none of them tells a token but that of a bundle."""
    blueprint = Blueprint("registry", __name__)

    @blueprint.get(REGISTRY_PATH)
    def list_entries() -> Response:
        return json_answer({"servers": list(registry.list())})

    @blueprint.post(REGISTRY_PATH)
    def add() -> Response:
        try:
            entry_id = _added(registry, json_object(MOST_LEVELS, MOST_ITEMS))
        except BadBundle as error:
            raise BadParameter(error.message, hint=error.hint) from error
        return json_answer(registry.entry(entry_id))

    @blueprint.delete(entry_path("<entry_id>"))
    def remove(entry_id: str) -> Response:
        registry.remove(entry_id)
        return json_answer({"removed": entry_id})

    # A POST, so that nothing fetches ahead or keeps what is a credential.
    @blueprint.post(bundle_path("<server_id>"))
    def give_bundle(server_id: str) -> Response:
        return json_answer({"bundle": registry.bundle(server_id)})

    return blueprint


def _added(registry: Registrations, body: dict[str, Any]) -> str:
    label, verify_tls = _text(body, "label"), body.get("verify_tls", True)
    if not isinstance(verify_tls, bool):
        raise BadParameter("Field 'verify_tls' must be true or false.")
    bundle, base_url = _text(body, "bundle"), _text(body, "base_url")
    token = _text(body, "auth_token")
    if bundle and not base_url and not token:
        return registry.add_bundle(bundle, label, verify_tls)
    if bundle or not base_url:
        raise BadParameter("Send 'base_url' and, if there is one, 'auth_token'; or 'bundle' alone.")
    return registry.add(label, base_url, token, verify_tls)


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field) or ""
    if not isinstance(value, str):
        raise BadParameter(f"Field {field!r} must be a string, found {type(value).__name__}.")
    return value
