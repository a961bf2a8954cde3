"""GET /v1/ready: whether requests should be sent here, and why not."""

from __future__ import annotations

import orjson
from flask import Blueprint, Response

from fdss.errors import NotReady
from fdss.metrics.counting import note_refusal
from fdss.readiness import Readiness
from fdss.wire.names import JSON, READY_PATH


def ready_blueprint(readiness: Readiness) -> Blueprint:
    """Return GET /v1/ready.

    It is behind the gate: the reasons tell how the machine is.
    """
    blueprint = Blueprint("ready", __name__)

    @blueprint.get(READY_PATH)
    def tell_readiness() -> Response:
        found = readiness.look()
        checks = {
            name: {"ok": reason is None, "reason": reason or ""} for name, reason in found.items()
        }
        reasons = [f"{name}: {reason}" for name, reason in found.items() if reason is not None]
        if not reasons:
            return Response(orjson.dumps({"ready": True, "checks": checks}), mimetype=JSON)
        error = NotReady(f"Not ready: {'; '.join(reasons)}.")
        note_refusal(error.code)
        body = {**error.as_json(), "ready": False, "checks": checks}
        return Response(
            orjson.dumps(body),
            status=error.status,
            mimetype=JSON,
            headers={"Retry-After": str(error.retry_after_s)},
        )

    return blueprint
