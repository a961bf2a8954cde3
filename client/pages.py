"""Bounded pages of rows: what is asked, and whether the answer is what was asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import quote

import requests

from fdss.backend import Selection
from fdss.errors import BadParameter, ContentChanged, PageForeign, SettingError
from fdss.wire import names
from fdss.wire.arrow import COMPRESSIONS

from .answers import media_type
from .limits import ClientLimits
from .objects import check_identity

ARROW = "arrow"
NDJSON = "ndjson"
AUTO = "auto"

COMPRESSION_VARIABLE = "FORGATHER_DATASET_CLIENT_COMPRESSION"
READ_AHEAD_VARIABLE = "FORGATHER_DATASET_CLIENT_READ_AHEAD_BYTES"
READ_AHEAD_BYTES = 24 << 20
MAX_READ_AHEAD_BYTES = 1 << 40

_ACCEPTED = {ARROW: f"{names.ARROW}, {names.NDJSON};q=0.5", NDJSON: names.NDJSON}
OLD_SERVER_PARAMETERS = frozenset({"position", "limit", "types", "compression"})


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
    part = selection.part(begin, rows)
    places, runs = part.positions, part.runs
    if selection.seed is None:
        # In stored order every selection is of a range of stored rows, which any server knows.
        places = selection.rows[places.start : places.stop : places.step]
    asked: dict[str, str | int] = {
        "position": places.start,
        "limit": len(part),
    }
    if len(places) > 1 and places.step > 1:
        asked["stride"] = places.step
    if runs is not None:
        asked["run"] = f"{runs.rows}:{runs.every}:{runs.begun}"
    if selection.columns is not None:
        asked["columns"] = ",".join(quote(column, safe="") for column in selection.columns)
    if selection.seed is not None:
        asked |= {"seed": selection.seed, "block": selection.block}
        if selection.window:
            asked["window"] = selection.window
        if selection.rows != range(length):
            stored = selection.rows
            # A sliced range may end beyond the dataset.
            asked["rows"] = f"{stored.start}:{stored[-1] + 1}:{stored.step}"
            length = len(stored)
    return Page(asked, len(part), places.start, length)


def _compression() -> str | None:
    given = os.environ.get(COMPRESSION_VARIABLE, "").strip().lower() or AUTO
    if given not in (AUTO, "none", *COMPRESSIONS):
        raise SettingError(
            f"${COMPRESSION_VARIABLE} is {given!r}.",
            hint=f"set it to {AUTO}, none, {' or '.join(COMPRESSIONS)}",
        )
    return None if given == "none" else given


def _read_ahead_bytes() -> int:
    given = os.environ.get(READ_AHEAD_VARIABLE, "").strip()
    if not given:
        return READ_AHEAD_BYTES
    found = int(given) if given.isascii() and given.isdigit() and len(given) < 20 else 0
    if not 1 <= found <= MAX_READ_AHEAD_BYTES:
        raise SettingError(
            f"${READ_AHEAD_VARIABLE} is {given[:80]!r}.",
            hint=f"set it to a number of bytes, 1 to {MAX_READ_AHEAD_BYTES}",
        )
    return found


@dataclass(frozen=True)
class Transfer:
    """How rows are brought here; what is not given is what the environment says.

    Attributes:
        body: ARROW, or NDJSON from servers that do not offer it; NDJSON from all.
        compression: Of Arrow bodies: "lz4", "zstd" or None; AUTO is zstd over a link that is
            both far and slow, and none over others, which is what it is by itself.
        read_ahead_bytes: Most bytes an iterator reads ahead, as they come over the wire; as
            Python values they take several times as much.
        limits: The most that is taken from a server.

    Raises:
        BadParameter: A value is none of these.
        SettingError: A variable of the environment holds none of these.
    """

    body: str = ARROW
    compression: str | None = field(default_factory=_compression)
    read_ahead_bytes: int = field(default_factory=_read_ahead_bytes)
    limits: ClientLimits = field(default_factory=ClientLimits.from_environment)

    def __post_init__(self) -> None:
        if self.body not in _ACCEPTED:
            raise BadParameter(f"body={self.body!r} is not {' or '.join(map(repr, _ACCEPTED))}.")
        compressions = (None, AUTO, *COMPRESSIONS)
        if self.compression not in compressions:
            raise BadParameter(
                f"compression={self.compression!r} is not {' or '.join(map(repr, compressions))}."
            )

    @property
    def accept(self) -> str:
        """Return the Accept header."""
        return _ACCEPTED[self.body]

    def parameters(self, is_slow: bool) -> dict[str, str]:
        """Return the parameters of the query, over a link that is far and slow or is not."""
        if self.body == NDJSON:
            return {"types": names.TAGGED}
        automatic = "zstd" if is_slow else None
        chosen = automatic if self.compression == AUTO else self.compression
        return {} if chosen is None else {"compression": chosen}


def checked_types(response: requests.Response, page: Page, fingerprint: str | None) -> str:
    """Return how a page's values are typed, once its headers say that it is the page asked for.

    A server from before FDSS says nothing about its pages; it understands position and limit.

    Raises:
        ContentChanged: The rows have another fingerprint.
        PageForeign: The page is another one, or of a server that cannot answer the question.
    """
    check_identity(response, f"GET {response.url}")
    found = media_type(response)
    if found not in (names.ARROW, names.NDJSON):
        raise foreign(response, f"media type {found or 'none'}", f"{names.ARROW} or {names.NDJSON}")
    types = names.ARROW_TYPES if found == names.ARROW else names.TAGGED
    if names.ORDER_HEADER not in response.headers and names.ROWS_HEADER not in response.headers:
        return _old_dialect(response, page)
    expected: dict[str, object] = {
        names.ORDER_HEADER: names.ORDER_VERSION,
        names.TYPES_HEADER: types,
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
            raise foreign(response, f"{header} {response.headers.get(header)!r}", repr(str(value)))
    return types


def _old_dialect(response: requests.Response, page: Page) -> str:
    beyond = sorted(page.parameters.keys() - OLD_SERVER_PARAMETERS)
    if beyond:
        raise PageForeign(
            f"The server at {response.url} does not say in which order its rows come;"
            f" it was asked for {', '.join(beyond)}.",
            hint="it knows position and limit only: read in stored order, or upgrade the server",
        )
    return names.PLAIN


def foreign(response: requests.Response, found: str, expected: str) -> PageForeign:
    """Return the error of a page that is another one than was asked for."""
    return PageForeign(
        f"The page at {response.url} has {found}; {expected} was asked for.",
        hint="check that the URL is that of a dataset server of this version",
    )
