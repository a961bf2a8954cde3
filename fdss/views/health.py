"""The open endpoints: is the server there, and does it want a token."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from fdss.config import ServerConfig
from fdss.traffic import Traffic
from fdss.wire.names import API_VERSION, AUTH_STATUS_PATH, HEALTH_PATH, SERVICE


def health_blueprint(config: ServerConfig, traffic: Traffic) -> Blueprint:
    """Return GET /v1/health and GET /v1/auth/status."""
    blueprint = Blueprint("health", __name__)
    policy = {
        "auth_required": not config.no_auth,
        "hf_cache_enabled": not config.no_hf,
        "allow_paths": config.allow_paths,
        "allow_downloads": config.allow_downloads,
        "local_count": len(config.local),
    }
    health = {"status": "ok", "service": SERVICE, "version": API_VERSION, "policy": policy}

    @blueprint.get(HEALTH_PATH)
    def tell_health() -> Response:
        return jsonify({**health, "load": traffic.as_json()})

    @blueprint.get(AUTH_STATUS_PATH)
    def tell_auth_status() -> Response:
        return jsonify({"auth_required": not config.no_auth})

    return blueprint
