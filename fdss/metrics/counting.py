"""Responses of an application, counted once each, when their last byte is handed over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from flask import Flask, Response, g, request

from fdss.access import Streamed
from fdss.errors import AuthenticationRequired, kind_of_status
from fdss.wire.body import BROKEN_OFF

from .meter import NO_ENDPOINT, Answer, Meter

#: Of what a page sends to log in.
FORM = "application/x-www-form-urlencoded"

_CONVERTER = re.compile(r"<(?:[^<>:]*:)?([^<>]*)>")

#: Takes a response that is rows, what became of them, and why it was broken off; often nothing.
StreamNote = Callable[[Answer, Streamed, str], None]


def install_counting(app: Flask, meter: Meter, note_stream: StreamNote | None = None) -> None:
    """Count every response of an application.

    To be installed after the access log, which starts the clock.

    Args:
        note_stream: Called with responses that are rows.
    """

    @app.after_request
    def count_when_closed(response: Response) -> Response:
        response.call_on_close(_counter(response, meter, note_stream))
        return response


def note_refusal(code: str) -> None:
    """Make the current request count as refused with a code."""
    g.refusal = code


def template_of(rule: str) -> str:
    """Return the template of a path as it is written in descriptions of APIs."""
    return _CONVERTER.sub(r"{\1}", rule)


def _code(status: int) -> str:
    """Return the code of the error that is answered; that of its status where none was noted."""
    noted: str = g.get("refusal", "")
    return noted or (kind_of_status(status).code if status >= 400 else "")


def _has_token() -> bool:
    return "Authorization" in request.headers or request.mimetype == FORM


def _counter(
    response: Response, meter: Meter, note_stream: StreamNote | None
) -> Callable[[], None]:
    # Flask's request is gone by the time the body is.
    begun_s: float = g.get("started_s", time.perf_counter())
    ready_s = time.perf_counter() - begun_s
    endpoint = NO_ENDPOINT if request.url_rule is None else template_of(request.url_rule.rule)
    code = _code(response.status_code)
    is_stranger = response.status_code == AuthenticationRequired.status
    has_token = _has_token()
    stream: Streamed | None = g.get("stream")
    method, environment = request.method, request.environ
    length = 0 if method == "HEAD" else response.content_length or 0

    def count() -> None:
        sent_bytes = length if stream is None else stream.sent_bytes
        answer = Answer(
            endpoint,
            method,
            response.status_code,
            code,
            ready_s=ready_s,
            seconds=time.perf_counter() - begun_s,
            sent_bytes=sent_bytes,
            media_type=response.mimetype or "",
        )
        meter.answered(answer)
        if is_stranger:
            meter.failed_authentication(has_token=has_token)
        if stream is not None and note_stream is not None:
            note_stream(answer, stream, environment.get(BROKEN_OFF, ""))

    return count
