"""Answers of the router's API: JSON, and errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fdss.application import install_errors as install_error_answers
from fdss.errors import FdssError, kind_of_status
from fdss.metrics.counting import note_refusal
from fdss.wire.names import GUARD_HEADERS, JSON

#: The code of an answer that stands for that of a server which failed.
BAD_GATEWAY = "bad-gateway"

logger = logging.getLogger(__name__)


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """Return an answer of strict JSON."""
    return Response(orjson.dumps(body), status=status, mimetype=JSON)


def error_body(message: str, code: str, hint: str = "") -> dict[str, Any]:
    """Return the body of every answer that is an error."""
    note_refusal(code)
    # Clients from before FDSS read ``detail``.
    return {"error": message, "code": code, "hint": hint, "detail": message}


def install_errors(app: Flask) -> None:
    """Make every error of an application an answer in JSON, and guard all its answers."""

    @app.after_request
    def guard(response: Response) -> Response:
        for name, value in GUARD_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    install_error_answers(app, _answer, _translated, "router", logger)


def _translated(error: HTTPException) -> FdssError:
    kind = kind_of_status(error.code or 500)
    reason = "there is no such endpoint." if error.code == 404 else error.description
    return kind(f"{request.method} {request.path[:200]}: {reason or error.name}", hint="")


def _answer(error: FdssError) -> Response:
    return json_answer(error_body(error.message, error.code, error.hint), error.status)
