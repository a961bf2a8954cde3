"""How a stream of rows is written: the seam between a view and the formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fdss.backend import BatchSource, Selection
from fdss.errors import BadParameter

from . import names
from .arrow import COMPRESSIONS, ArrowEncoding
from .body import Body
from .lines import NdjsonEncoding

TYPES_PARAMETER = "types"
COMPRESSION_PARAMETER = "compression"


class Encoding(Protocol):
    """One format of the body of ``/iter``.

    Attributes:
        media_type: Content-Type of the response.
        headers: Headers that say how it was encoded.
    """

    @property
    def media_type(self) -> str:
        """Return the Content-Type of the response."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that say how the body was encoded."""

    def encode(self, source: BatchSource, selection: Selection) -> Body:
        """Return the body, in chunks of many rows.

        Raises:
            UncarriableValue: At the call when a column's type has no form; while iterating
                when a value has none.
        """


def choose_encoding(accept: str | None, parameters: Mapping[str, str]) -> Encoding:
    """Return the encoding of a request.

    Args:
        accept: The Accept header. Arrow is for those who name it; NDJSON is served for anything
            else: RFC 9110 (12.5.1) allows it, and existing clients ask for JSON or for nothing
            in particular.
        parameters: Query parameters; of NDJSON ``types`` is ``plain`` (default) or ``tagged``,
            of Arrow ``compression`` is ``lz4`` or ``zstd`` (default none).

    Raises:
        BadParameter: A parameter is something else, or one of the other encoding.
    """
    dialect = parameters.get(TYPES_PARAMETER)
    compression = parameters.get(COMPRESSION_PARAMETER)
    if names.ARROW in (accept or ""):
        _refuse_unless(TYPES_PARAMETER, dialect, (), "NDJSON")
        _refuse_unless(COMPRESSION_PARAMETER, compression, COMPRESSIONS, "Arrow")
        return ArrowEncoding(compression)
    _refuse_unless(COMPRESSION_PARAMETER, compression, (), "Arrow")
    _refuse_unless(TYPES_PARAMETER, dialect, (names.PLAIN, names.TAGGED), "NDJSON")
    return NdjsonEncoding(dialect or names.PLAIN)


def _refuse_unless(
    parameter: str, value: str | None, known: tuple[str, ...], encoding: str
) -> None:
    if value is None or value in known:
        return
    if not known:
        raise BadParameter(
            f"Parameter {parameter!r} belongs to {encoding}, which was not asked for."
        )
    raise BadParameter(
        f"Parameter {parameter!r} must be {' or '.join(map(repr, known))}, found {value!r}."
    )
