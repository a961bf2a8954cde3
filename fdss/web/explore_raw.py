"""Single rows and values as they are: JSON, text, bytes, and what a browser can show of them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from fdss.backend import Row
from fdss.errors import BadParameter, NotFound, Unavailable
from fdss.wire.names import JSON, MAX_COUNT

from .explore_links import ROOT, Place, number, steps
from .explore_opening import Opened, Openings, StillOpening
from .explore_rows import asked_names, check_position
from .media import AUDIO_TYPES, IMAGE_TYPES, sent, sniffed
from .values_inside import inside, is_file, json_text
from .values_types import FILES, kind_of

BINARY, TEXT = "application/octet-stream", "text/plain"
SHOWN = {"Image": IMAGE_TYPES, "Audio": AUDIO_TYPES}


def add_raw(blueprint: Blueprint, openings: Openings) -> None:
    """Add what answers with rows and values instead of pages.

    What they hold is sent so that no browser runs any of it.
    """
    server = f"{ROOT}/<server_id>"

    @blueprint.get(f"{server}/row.json")
    def row_json(server_id: str) -> Response:
        place = Place.of(server_id, request.args)
        row, opened = _row(openings, place)
        # A row is no feature, but its fields are found as those of a struct are.
        return sent(json_text(row, opened.features), JSON, is_shown=True)

    @blueprint.get(f"{server}/cell")
    def cell(server_id: str) -> Response:
        value, feature = _value(openings, Place.of(server_id, request.args))
        if isinstance(value, str) and kind_of(feature) != "Json":
            return sent(value.encode("utf-8", "replace"), TEXT, is_shown=True)
        if kind_of(feature) in FILES and is_file(value) and isinstance(value.get("bytes"), bytes):
            value = value["bytes"]
        if isinstance(value, bytes):
            return sent(value, BINARY, is_shown=False)
        return sent(json_text(value, feature), JSON, is_shown=True)

    @blueprint.get(f"{server}/media")
    def media(server_id: str) -> Response:
        value, feature = _value(openings, Place.of(server_id, request.args))
        content = value.get("bytes") if is_file(value) else None
        media_type = sniffed(content) if isinstance(content, bytes) else None
        if media_type not in SHOWN.get(kind_of(feature), ()):
            raise NotFound(
                "There is no image and no sound here that a browser can show.",
                hint="the page of the row has a link to the bytes",
            )
        assert isinstance(content, bytes) and media_type is not None
        return sent(content, media_type, is_shown=True)


def _value(openings: Openings, place: Place) -> tuple[Any, Any]:
    column = number(request.args, "column", MAX_COUNT)
    if column is None:
        raise BadParameter("The number of the column is missing.", hint="add column=0")
    row, opened = _row(openings, place, column)
    name = opened.column_names[column]
    try:
        return inside(row.get(name), opened.features.get(name), steps(request.args))
    except LookupError:
        raise NotFound(f"Nothing is at {request.args['at'][:40]!r} in this value.") from None


def _row(openings: Openings, place: Place, column: int | None = None) -> tuple[Row, Opened]:
    """Return a row, of which only one column is asked for if that is possible."""
    try:
        opened = openings.opened(place.server_id, place.arguments)
        check_position(place.position, opened)
        if column is not None and column >= len(opened.column_names):
            raise NotFound(
                f"There is no column {column:,}: the dataset has "
                f"{len(opened.column_names):,}, from 0 on."
            )
        opened, page = openings.rows(
            place.server_id,
            place.arguments,
            position=place.position,
            limit=1,
            seed=place.seed,
            columns=() if column is None else asked_names((column,), opened),
        )
    except StillOpening:
        # Nobody watches this answer come.
        raise Unavailable("The server is still opening the dataset.", hint="ask again") from None
    if not page.rows:
        raise NotFound("The dataset has no rows.")
    return page.rows[0], opened
