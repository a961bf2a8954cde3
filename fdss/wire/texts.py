"""Arrow columns as JSON texts: one Arrow array a column, an element the JSON of a value.

Text is copied, never decoded: its bytes stand in JSON as they stand in Arrow, but for the few
that are escaped. Numbers and the like are written by one call for a column. Everything else is
converted by ``fdss.wire.columns`` and written a value at a time.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from fdss.errors import UncarriableValue

from . import columns
from .columns import Dialect, is_number
from .plain import BYTES_AFTER, BYTES_BEFORE, is_binary

_TYPE = pa.large_binary()
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

# What is made of a part of this size stays in the cache, and is not had from the system each time.
SCANNED_BYTES = 64 << 10

# With fewer bytes to an escape than these, one pass over all is quicker than one for each kind.
_FEW_BYTES = 32

# The backslash first: the other escapes bring their own.
_ESCAPES = {code: orjson.dumps(chr(code))[1:-1] for code in (ord("\\"), ord('"'), *range(0x20))}
_ADDED_BYTES = np.zeros(256, np.int64)
_ADDED_BYTES[list(_ESCAPES)] = [len(escape) - 1 for escape in _ESCAPES.values()]


@dataclass(frozen=True)
class Texts:
    """The JSON of a column's values.

    Attributes:
        values: Of large_binary, without nulls.
        before: What the JSON of every value begins with, in front of what stands in ``values``.
        after: What it ends with.
    """

    values: pa.Array
    before: bytes = b""
    after: bytes = b""


class ColumnWriter:
    """Writes the values of one column.

    Attributes:
        is_short: Whether ``list_text`` can write the column: the JSON of no value has a comma.
    """

    def __init__(self, field: pa.Field, dialect: Dialect) -> None:
        """Prepare for a column.

        Raises:
            UncarriableValue: The type has no form; the message names the column.
        """
        self._name, self._type = field.name, field.type
        self._dialect = dialect
        self.is_short = _is_short(field.type)
        self._convert = columns.converter(field.type, dialect, field.name)

    def list_text(self, array: pa.Array) -> bytes:
        """Return the JSON of a list of the values of a short column.

        Raises:
            UncarriableValue: A value has no form.
        """
        if is_number(self._type) and not array.null_count:
            values, odd = self._dialect.numbers(array.to_numpy())
            if odd is None or not odd.any():
                return self._text(values)
        return self._text(columns.converted(array, self._convert, self._name))

    def texts(self, array: pa.Array) -> Texts:
        """Return the JSON of each value of a column.

        Raises:
            UncarriableValue: A value has no form.
        """
        if types.is_string(self._type) or types.is_large_string(self._type):
            text = _json_text(array)
            if text is not None:
                return _with_nulls(Texts(text, b'"', b'"'), array)
        if is_binary(self._type) and not array.null_count:
            encoded = [b64encode(value) for value in array.to_pylist()]
            return Texts(_array_of(encoded), BYTES_BEFORE, BYTES_AFTER)
        values = columns.converted(array, self._convert, self._name)
        return Texts(_array_of([self._text(value) for value in values]))

    def _text(self, value: Any) -> bytes:
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except TypeError as exc:
            raise UncarriableValue(
                f"Column {self._name!r} holds a value that JSON has no form for: {exc}."
            ) from exc


def of_lists(lists: Sequence[bytes], count: int) -> list[Texts]:
    """Return the texts of columns that are JSON lists of ``count`` values without commas each."""
    if not lists:
        return []
    joined = np.frombuffer(b",".join([text[1:-1] for text in lists]), np.uint8)
    is_comma = joined == ord(",")
    commas = np.flatnonzero(is_comma)
    # Where each value begins when no comma stands between them any more.
    offsets = np.zeros(len(commas) + 2, np.int64)
    offsets[1:-1] = commas - np.arange(len(commas))
    offsets[-1] = len(joined) - len(commas)
    values = _array(offsets, pa.py_buffer(joined[~is_comma]))
    return [Texts(values.slice(at, count)) for at in range(0, count * len(lists), count)]


def joined_lines(fields: dict[str, Texts]) -> bytes:
    """Return one JSON object a line, of one field or more."""
    pieces: list[pa.Array | pa.Scalar] = []
    between = b"{"
    for name, texts in fields.items():
        key = orjson.dumps(name) + b":" + texts.before
        pieces += [_scalar(between + key), texts.values]
        between = texts.after + b","
    pieces.append(_scalar(between[:-1] + b"}\n"))
    lines = _joined(pieces)
    _, offsets, data = lines.buffers()
    return bytes(data.slice(0, int(np.frombuffer(offsets, np.int64)[len(lines)])))


def _is_short(type_: pa.DataType) -> bool:
    return bool(
        is_number(type_)
        or types.is_boolean(type_)
        or types.is_null(type_)
        or types.is_date(type_)
        or types.is_decimal(type_)
    )


def _with_nulls(texts: Texts, array: pa.Array) -> Texts:
    if not array.null_count:
        return texts
    whole = _joined([_scalar(texts.before), texts.values, _scalar(texts.after)])
    return Texts(pc.if_else(array.is_valid(), whole, _scalar(b"null")))


def _json_text(array: pa.Array) -> pa.Array | None:
    """Return text as it stands inside the quotes of JSON, of nulls anything; None if it is broken.

    It is broken if it is not valid UTF-8, or not where its offsets say.
    """
    width = np.int32 if types.is_string(array.type) else np.int64
    _, places, data = array.buffers()
    held = np.frombuffer(places, width)[array.offset : array.offset + len(array) + 1]
    offsets = held.astype(np.int64)
    lengths = np.diff(offsets)
    if lengths.min() < 0 or offsets[0] < 0 or (data.size if data else 0) < offsets[-1]:
        return None
    flat = bytes(data.slice(offsets[0], offsets[-1] - offsets[0])) if data else b""
    offsets -= offsets[0]
    codes = np.frombuffer(flat, np.uint8)
    if not (flat.isascii() or _is_latin(codes, offsets) or _is_valid(array)):
        return None
    if b'"' in flat or b"\\" in flat or codes.min(initial=0xFF) < 0x20:
        flat, offsets = _with_escapes(flat, codes, offsets)
    return _array(offsets, pa.py_buffer(flat))


def _is_latin(codes: NDArray[np.uint8], offsets: NDArray[np.int64]) -> bool:
    """Tell whether all texts are valid UTF-8, of characters of one and two bytes.

    It takes half as long as Arrow's own look, which knows characters of any length.
    """
    first = codes[offsets[offsets < len(codes)]]
    if ((first & 0xC0) == 0x80).any():
        return False
    was_lead = False
    for begin in range(0, len(codes), SCANNED_BYTES):
        part = codes[begin : begin + SCANNED_BYTES]
        if part.max() >= 0xE0 or ((part & 0xFE) == 0xC0).any():
            return False
        is_lead = part >= 0xC2
        # As a signed number, what follows a lead (80..BF) is least.
        follows = part.view(np.int8) < -0x40
        if follows[0] != was_lead or not np.array_equal(is_lead[:-1], follows[1:]):
            return False
        was_lead = is_lead[-1]
    return not was_lead


def _is_valid(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _with_escapes(
    flat: bytes, codes: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[bytes, NDArray[np.int64]]:
    places = np.flatnonzero((codes < 0x20) | (codes == ord('"')) | (codes == ord("\\")))
    found = codes[places]
    added = np.concatenate(([0], np.cumsum(_ADDED_BYTES[found])))
    offsets = offsets + added[np.searchsorted(places, offsets)]
    if len(places) * _FEW_BYTES > len(flat) and flat.isascii():
        return orjson.dumps(flat.decode("ascii"))[1:-1], offsets
    held = np.bincount(found, minlength=len(_ADDED_BYTES))
    for code, escape in _ESCAPES.items():
        if held[code]:
            flat = flat.replace(bytes((code,)), escape)
    return flat, offsets


def _joined(pieces: Sequence[pa.Array | pa.Scalar]) -> pa.Array:
    return pc.binary_join_element_wise(*pieces, _scalar(b""))


@lru_cache(maxsize=4096)
def _scalar(text: bytes) -> pa.Scalar:
    return _array_of([text])[0]


def _array_of(texts: Sequence[bytes]) -> pa.Array:
    """Return what ``pa.array`` does, which imports pandas where it is installed."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return _array(offsets, pa.py_buffer(b"".join(texts)))


def _array(offsets: NDArray[np.int64], data: pa.Buffer) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), data]
    return pa.Array.from_buffers(_TYPE, len(offsets) - 1, buffers, null_count=0)
