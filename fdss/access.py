"""One log line for every request, written when its last byte is handed over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from flask import Flask, Response, g, request

#: A path longer than that is none of ours.
MOST_CHARACTERS = 200

logger = logging.getLogger(__name__)


class Streamed(Protocol):
    """What the line tells about a body that is made while it is sent."""

    sent_rows: int | None
    sent_bytes: int
    outcome: str
    failure: str


def install_access_log(app: Flask) -> None:
    """Log method, path, status, handle, rows, bytes and seconds of each request.

    Neither query strings nor headers are logged, so a token never is.
    """

    @app.before_request
    def start_clock() -> None:
        g.started_s = time.perf_counter()

    @app.after_request
    def log_when_closed(response: Response) -> Response:
        response.call_on_close(_line(response))
        return response


def note_stream(stream: Streamed) -> None:
    """Make the line of the current request tell what became of its stream."""
    g.stream = stream


def note_handle(handle: str) -> None:
    """Make the line of the current request tell its handle."""
    g.handle = handle


def shown_path() -> str:
    """Return the path of the current request as one word that can write no line of its own."""
    return _quoted(request.path)


def _quoted(text: str) -> str:
    return quote(text[:MOST_CHARACTERS], safe="/-._~!$&'()*+,;=:@")


def _line(response: Response) -> Callable[[], None]:
    # Flask's request is gone by the time the body is.
    parts = [request.method, shown_path(), str(response.status_code)]
    if "handle" in g:
        parts.append(f"handle={_quoted(g.handle[:64])}")
    stream: Streamed | None = g.get("stream")
    length = 0 if request.method == "HEAD" else response.content_length or 0
    started_s: float = g.get("started_s", time.perf_counter())
    # The gate tells of failed attempts, and of many in one line.
    level = logging.DEBUG if response.status_code == 401 else logging.INFO

    def log() -> None:
        if stream is not None and stream.sent_rows is not None:
            parts.append(f"rows={stream.sent_rows}")
        parts.append(f"bytes={length if stream is None else stream.sent_bytes}")
        parts.append(f"seconds={time.perf_counter() - started_s:.3f}")
        if stream is not None and stream.outcome:
            parts.append(stream.outcome)
        logger.log(level, "%s", " ".join(parts))

    return log
