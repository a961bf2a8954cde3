"""Bounded pages of rows: what is asked, and whether the answer is what was asked."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from fdss.backend import Row, Selection
from fdss.errors import ContentChanged, PageCut, PageError, PageForeign
from fdss.wire import names
from fdss.wire.ndjson import decode_lines
from fdss.wire.plain import BYTES_TAG

from .answers import media_type

READ_BYTES = 256 * 1024
OLD_SERVER_PARAMETERS = frozenset({"position", "limit", "types"})


@dataclass(frozen=True)
class Page:
    """One request for rows.

    Attributes:
        parameters: Of the query.
        rows: Rows asked for, 1 or more.
        position: Position of the first.
        length: Positions the server has to count in all.
    """

    parameters: dict[str, str | int]
    rows: int
    position: int
    length: int


def asked_page(selection: Selection, length: int, begin: int, rows: int) -> Page:
    """Return the request for ``rows`` rows of a selection from its ``begin``-th on.

    Args:
        length: Stored rows of the dataset.
    """
    positions = selection.positions
    if selection.seed is None:
        # In stored order every selection is a range of stored rows, which any server knows.
        positions = selection.rows[positions.start : positions.stop : positions.step]
    places = positions[begin : begin + rows]
    asked: dict[str, str | int] = {
        "position": places.start,
        "limit": len(places),
        "types": names.TAGGED,
    }
    if len(places) > 1 and places.step > 1:
        asked["stride"] = places.step
    if selection.columns is not None:
        asked["columns"] = ",".join(quote(column, safe="") for column in selection.columns)
    if selection.seed is not None:
        asked |= {"seed": selection.seed, "block": selection.block}
        if selection.window:
            asked["window"] = selection.window
        if selection.rows != range(length):
            part = selection.rows
            # A sliced range may end beyond the dataset.
            asked["rows"] = f"{part.start}:{part[-1] + 1}:{part.step}"
            length = len(part)
    return Page(asked, len(places), places.start, length)


def checked_dialect(response: requests.Response, page: Page, fingerprint: str | None) -> str:
    """Return the dialect of a page's values, once its headers say that it is the page asked for.

    A server from before FDSS says nothing about its pages; it understands position and limit.

    Raises:
        ContentChanged: The rows have another fingerprint.
        PageForeign: The page is another one, or of a server that cannot answer the question.
    """
    if media_type(response) != names.NDJSON:
        raise _foreign(response, f"media type {media_type(response) or 'none'}", names.NDJSON)
    if names.ORDER_HEADER not in response.headers and names.ROWS_HEADER not in response.headers:
        return _old_dialect(response, page)
    expected: dict[str, object] = {
        names.ORDER_HEADER: names.ORDER_VERSION,
        names.TYPES_HEADER: names.TAGGED,
        names.LENGTH_HEADER: page.length,
        names.POSITION_HEADER: page.position,
        names.ROWS_HEADER: page.rows,
    }
    tag = response.headers.get("ETag", "").removeprefix("W/").strip('"')
    if fingerprint is not None and tag != fingerprint:
        raise ContentChanged(
            f"The rows at {response.url} have the fingerprint {tag!r}, not {fingerprint!r}."
        )
    for header, value in expected.items():
        if response.headers.get(header) != str(value):
            raise _foreign(response, f"{header} {response.headers.get(header)!r}", repr(str(value)))
    return names.TAGGED


def page_rows(
    response: requests.Response, page: Page, dialect: str
) -> Iterator[tuple[list[Row], int]]:
    """Yield the rows of a page as they arrive, 1 or more at a time, with their size in bytes.

    Raises:
        PageCut: Fewer rows came than were asked for; those that came were yielded.
        PageForeign: More rows came, or something that is not a row.
    """
    came = 0
    reason: Exception | None = None
    try:
        for lines in _whole_lines(response):
            rows, fault = _decoded(lines.split(b"\n")[:-1], dialect)
            if came + len(rows) > page.rows:
                raise _foreign(response, f"more than {page.rows} rows", f"{page.rows}")
            came += len(rows)
            if rows:
                yield rows, len(lines)
            if isinstance(fault, PageForeign):
                raise PageForeign(
                    f"Row {came} of the page at {response.url} cannot be read: {fault.message}"
                ) from fault
            if fault is not None:
                raise fault
    except (requests.RequestException, PageCut) as exc:
        # All rows are here: that the end of the body is missing changes nothing.
        reason = exc
    if came < page.rows:
        raise PageCut(
            f"The page of {page.rows} rows at {response.url} was cut after {came}:"
            f" {reason or 'the answer ended there'}."
        ) from reason


def _whole_lines(response: requests.Response) -> Iterator[bytes]:
    held: list[bytes] = []
    for block in response.iter_content(READ_BYTES):
        end = block.rfind(b"\n") + 1
        if not end:
            held.append(block)
            continue
        yield b"".join((*held, block[:end]))
        held = [block[end:]] if end < len(block) else []
    if held:
        raise PageCut("its last line has no end")


def _decoded(lines: list[bytes], dialect: str) -> tuple[list[Row], PageError | None]:
    """Return the rows of whole lines; up to the line at fault, and the fault, if there is one."""
    decode = decode_lines if dialect == names.TAGGED else _old_rows
    with contextlib.suppress(PageError):
        return decode(lines), None
    rows: list[Row] = []
    for line in lines:
        try:
            rows += decode([line])
        except PageError as fault:
            return rows, fault
    return rows, None


def _old_rows(lines: Sequence[bytes]) -> list[Row]:
    """Return the rows of lines that may hold NaN and Infinity, as JSON of old servers does."""
    try:
        rows = [json.loads(line, object_hook=_unpacked) for line in lines]
    except ValueError as exc:
        raise PageCut(f"A line of rows is not whole JSON: {exc}.") from exc
    if all(isinstance(row, dict) for row in rows):
        return rows
    raise PageForeign("A line of rows holds something else than one JSON object.")


def _unpacked(value: dict[str, Any]) -> Any:
    packed = value.get(BYTES_TAG)
    if len(value) == 1 and isinstance(packed, str):
        with contextlib.suppress(ValueError):
            return base64.b64decode(packed, validate=True)
    return value


def _old_dialect(response: requests.Response, page: Page) -> str:
    beyond = sorted(page.parameters.keys() - OLD_SERVER_PARAMETERS)
    if beyond:
        raise PageForeign(
            f"The server at {response.url} does not say in which order its rows come;"
            f" it was asked for {', '.join(beyond)}.",
            hint="it knows position and limit only: read in stored order, or upgrade the server",
        )
    return names.PLAIN


def _foreign(response: requests.Response, found: str, expected: str) -> PageForeign:
    return PageForeign(
        f"The page at {response.url} has {found}; {expected} was asked for.",
        hint="check that the URL is that of a dataset server of this version",
    )
