"""GET /v1/datasets/{handle}/iter: the rows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

from flask import Blueprint, Response, request

from fdss.access import note_handle, note_stream
from fdss.admission import Quota
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import ContentChanged, TooManyStreams
from fdss.traffic import Traffic
from fdss.views.parameters import selection_of
from fdss.views.streams import RowStream, head_of
from fdss.wire.body import SENDS_FILES, Body
from fdss.wire.encodings import choose_encoding
from fdss.wire.names import (
    LENGTH_HEADER,
    ORDER_HEADER,
    ORDER_VERSION,
    POSITION_HEADER,
    ROWS_HEADER,
    iter_path,
)


def rows_blueprint(config: ServerConfig, catalog: Catalog, traffic: Traffic) -> Blueprint:
    """Return GET /v1/datasets/{handle}/iter.

    Everything that can be refused is refused, and the first chunk made, before the status is
    sent. A failure after that cuts the connection, which no client can take for the end.
    """
    blueprint = Blueprint("rows", __name__)
    streams = Quota(
        config.max_streams,
        config.max_streams_per_client,
        kind=TooManyStreams,
        things="streams of rows",
    )

    @blueprint.get(iter_path("<handle>"))
    def stream_rows(handle: str) -> Response:
        note_handle(handle)
        backend = catalog.get(handle).backend
        _check_content(backend.fingerprint)
        selection = selection_of(
            request.args, len(backend), backend.column_names, config.max_columns
        )
        encoding = choose_encoding(request.headers.get("Accept"), request.args)
        headers = {
            **encoding.headers,
            ROWS_HEADER: str(len(selection)),
            POSITION_HEADER: request.args.get("position", "0"),
            LENGTH_HEADER: str(len(selection.rows)),
            ORDER_HEADER: ORDER_VERSION,
            "ETag": f'"{backend.fingerprint}"',
            "Content-Type": encoding.media_type,
        }
        if request.method == "HEAD":
            return _headers_only(headers)
        with ExitStack() as held:
            held.callback(streams.take(request.remote_addr))
            held.callback(traffic.begin())
            body = encoding.encode(backend, selection)
            response = _streamed(body, len(selection), headers, traffic)
            response.call_on_close(held.pop_all().close)
        return response

    return blueprint


def _headers_only(headers: dict[str, str]) -> Response:
    response = Response(headers=headers)
    # Flask would say 0, the length of this answer and not of the one it stands for.
    response.automatically_set_content_length = False
    return response


def _streamed(body: Body, rows: int, headers: dict[str, str], traffic: Traffic) -> Response:
    if not request.environ.get(SENDS_FILES):
        body = replace(body, chunks=body.read())
    head, is_whole = head_of(body.chunks)
    stream = RowStream(
        head, body.chunks, rows=rows, media_type=headers["Content-Type"], traffic=traffic
    )
    note_stream(stream)
    # Flask knows of bytes only; what sends them takes views as well.
    response = Response(cast("Iterable[bytes]", stream), headers=headers)
    size_bytes = sum(map(len, head)) if is_whole else body.size_bytes
    if size_bytes is not None:
        response.content_length = size_bytes
    return response


def _check_content(fingerprint: str) -> None:
    wanted = request.if_match
    if "If-Match" in request.headers and not wanted.contains(fingerprint):
        raise ContentChanged(
            f"The content is {fingerprint}, the request is for {request.headers['If-Match'][:200]}."
        )
