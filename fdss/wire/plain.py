"""The plain dialect: JSON for people, curl and existing Forgather clients. It loses types.

bytes                      {"__bytes_b64__": base64}
date, time, timestamp      ISO 8601, as ``isoformat`` writes it; nanoseconds keep their digits
duration                   seconds, a float
decimal                    a string
NaN, infinity              null
map                        a list of [key, value]
everything else            the JSON value of the same name
"""

from __future__ import annotations

import datetime as dt
from base64 import b64encode
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from . import names
from .columns import Converter, Dialect, is_number

BYTES_TAG = "__bytes_b64__"
BYTES_BEFORE, BYTES_AFTER = b'{"' + BYTES_TAG.encode() + b'":"', b'"}'
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Plain(Dialect):
    """Values as the reference implementation writes them."""

    name = names.PLAIN

    def leaf(self, type_: pa.DataType) -> Converter | None:
        return json_leaf(type_) or _leaf(type_)

    def numbers(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        # A float is written with the digits of its double, as Python has it.
        return (values.astype(np.float64) if values.dtype.kind == "f" else values), None

    def map_rows(self, rows: list[Any]) -> list[Any]:
        return rows

    def struct_rows(self, names: list[str], rows: list[Any]) -> list[Any]:
        return rows


def json_leaf(type_: pa.DataType) -> Converter | None:
    """Return the converter of a type both dialects write alike; floats may still be NaN."""
    if types.is_null(type_) or types.is_boolean(type_) or is_number(type_) or is_string(type_):
        return _pylist
    if is_binary(type_):
        return binary_values
    return None


def is_string(type_: pa.DataType) -> bool:
    """Tell whether a type holds text."""
    return bool(
        types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_)
    )


def is_binary(type_: pa.DataType) -> bool:
    """Tell whether a type holds bytes."""
    return bool(
        types.is_binary(type_)
        or types.is_large_binary(type_)
        or types.is_fixed_size_binary(type_)
        or types.is_binary_view(type_)
    )


def binary_values(array: pa.Array) -> list[Any]:
    """Return bytes in the tag both dialects have for them."""
    return [None if value is None else _tagged_bytes(value) for value in array.to_pylist()]


def ticks(array: pa.Array) -> list[int | None]:
    """Return the integers behind a column of dates, times, timestamps or durations."""
    bits = array.type.bit_width
    return list(array.view(pa.int32() if bits == 32 else pa.int64()).to_pylist())


def _pylist(array: pa.Array) -> list[Any]:
    return list(array.to_pylist())


def _tagged_bytes(value: bytes) -> orjson.Fragment:
    return orjson.Fragment(BYTES_BEFORE + b64encode(value) + BYTES_AFTER)


def _leaf(type_: pa.DataType) -> Converter | None:
    if types.is_timestamp(type_) or types.is_time(type_):
        return _nano_iso if type_.unit == "ns" else _iso
    if types.is_date(type_):
        return _iso
    if types.is_duration(type_):
        return _seconds
    if types.is_decimal(type_):
        return _strings
    return None


def _iso(array: pa.Array) -> list[Any]:
    return [None if value is None else value.isoformat() for value in array.to_pylist()]


def _nano_iso(array: pa.Array) -> list[Any]:
    """Return ISO texts with nine digits of a second where the last three are not zero."""
    coarse = _micros(array).to_pylist()
    return [
        None if tick is None else _with_nanos(value, tick % 1000)
        for value, tick in zip(coarse, ticks(array), strict=True)
    ]


def _micros(array: pa.Array) -> pa.Array:
    micros = pa.array(
        [None if tick is None else tick // 1000 for tick in ticks(array)], type=pa.int64()
    )
    if types.is_time(array.type):
        return micros.cast(pa.time64("us"))
    return micros.cast(pa.timestamp("us", array.type.tz))


def _with_nanos(value: dt.datetime | dt.time, nanos: int) -> str:
    if not nanos:
        return value.isoformat()
    text = value.isoformat(timespec="microseconds")
    end = text.index(".") + 7
    return f"{text[:end]}{nanos:03}{text[end:]}"


def _seconds(array: pa.Array) -> list[Any]:
    per_second = PER_SECOND[array.type.unit]
    return [None if tick is None else tick / per_second for tick in ticks(array)]


def _strings(array: pa.Array) -> list[Any]:
    return [None if value is None else str(value) for value in array.to_pylist()]
