"""The tagged dialect: JSON that comes back as exactly the Python values Arrow gives.

A value JSON has no form for is an object with one key, its tag:

bytes             {"__bytes_b64__": base64}
timestamp         {"__timestamp__": [ticks since 1970-01-01 UTC, "s"|"ms"|"us"|"ns", zone or null]}
date              {"__date__": days since 1970-01-01}
time              {"__time__": [ticks since midnight, unit]}
duration          {"__duration__": [ticks, unit]}
decimal           {"__decimal__": text}
NaN, infinities   {"__float__": "nan" | "inf" | "-inf"}
map               {"__map__": [[key, value], …]}
a genuine object  {"__escaped__": {the tag it has by chance: value}}
of one key that
is one of these

The row itself is never a tag. There is no space between tokens, and keys stand in stored order.
A float is the shortest digits that give its double back: with a point from 1e-5 to below 1e16,
outside of that as Python's ``repr`` writes it (1e-07, 1e+16).

These bytes never change: the content fingerprint of a dataset is a hash over them, and states of
training runs hold fingerprints. A new kind of value gets a new tag; what is written today for a
value is written for ever, whatever the batch, slice or physical layout it came from.
"""

from __future__ import annotations

import datetime as dt
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from . import names
from .columns import Converter
from .plain import BYTES_TAG, Plain, json_leaf, ticks

TIMESTAMP_TAG = "__timestamp__"
DATE_TAG = "__date__"
TIME_TAG = "__time__"
DURATION_TAG = "__duration__"
DECIMAL_TAG = "__decimal__"
FLOAT_TAG = "__float__"
MAP_TAG = "__map__"
ESCAPE_TAG = "__escaped__"

_LEAST_DIGITS, _MOST_DIGITS = 1e-5, 1e16
_DAY_MS = 86_400_000
_EPOCH = dt.datetime(1970, 1, 1)
_DELTAS = {
    "s": dt.timedelta(seconds=1),
    "ms": dt.timedelta(milliseconds=1),
    "us": dt.timedelta(microseconds=1),
}


class Tagged(Plain):
    """Values that ``restored`` gives back as they were."""

    name = names.TAGGED

    def leaf(self, type_: pa.DataType) -> Converter | None:
        if types.is_floating(type_):
            return _floats
        return json_leaf(type_) or _leaf(type_)

    def numbers(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        wide, _ = super().numbers(values)
        return wide, _needs_form(wide) if wide.dtype.kind == "f" else None

    def map_rows(self, rows: list[Any]) -> list[Any]:
        return _tagged(MAP_TAG, rows)

    def struct_rows(self, names: list[str], rows: list[Any]) -> list[Any]:
        if len(names) != 1 or names[0] not in _RESTORERS:
            return rows
        return _tagged(ESCAPE_TAG, rows)


def restored(value: Any) -> Any:
    """Return a decoded JSON value with every tag in it replaced by what it stands for.

    Raises:
        ArithmeticError, AttributeError, TypeError, ValueError: A tag holds something that no
            encoder writes, or a date that Python has no value for.
    """
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, content),) = value.items()
            restore = _RESTORERS.get(tag)
            if restore is not None:
                return restore(content)
        return restored_fields(value)
    if isinstance(value, list) and not {dict, list}.isdisjoint(map(type, value)):
        return [restored(element) for element in value]
    return value


def restored_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Restore the values of a dict that is no tag, in place, and return it."""
    for name, value in fields.items():
        if isinstance(value, (dict, list)):
            fields[name] = restored(value)
    return fields


def _leaf(type_: pa.DataType) -> Converter | None:
    if types.is_timestamp(type_):
        return lambda array: _tagged(TIMESTAMP_TAG, ticks(array), type_.unit, type_.tz)
    if types.is_date32(type_):
        return lambda array: _tagged(DATE_TAG, ticks(array))
    if types.is_date64(type_):
        return lambda array: _tagged(DATE_TAG, _days(array))
    if types.is_time(type_):
        return lambda array: _tagged(TIME_TAG, ticks(array), type_.unit)
    if types.is_duration(type_):
        return lambda array: _tagged(DURATION_TAG, ticks(array), type_.unit)
    if types.is_decimal(type_):
        return lambda array: _tagged(DECIMAL_TAG, _texts(array))
    return None


def _tagged(tag: str, values: list[Any], *rest: str | None) -> list[Any]:
    if rest:
        return [None if value is None else {tag: [value, *rest]} for value in values]
    return [None if value is None else {tag: value} for value in values]


def _floats(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    known = array.drop_null().to_numpy().astype(np.float64)
    if not _needs_form(known).any():
        return values
    return [None if value is None else _float(value) for value in values]


def _needs_form(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which doubles are not plain digits and a point: versions of orjson differ on those."""
    size = np.abs(values)
    plain: NDArray[np.bool_] = ((size >= _LEAST_DIGITS) & (size < _MOST_DIGITS)) | (size == 0)
    return ~plain


def _float(value: float) -> Any:
    if not isfinite(value):
        return {FLOAT_TAG: str(value)}
    if value == 0 or _LEAST_DIGITS <= abs(value) < _MOST_DIGITS:
        return value
    return orjson.Fragment(repr(value).encode())


def _days(array: pa.Array) -> list[int | None]:
    return [None if tick is None else tick // _DAY_MS for tick in ticks(array)]


def _texts(array: pa.Array) -> list[str | None]:
    return [None if value is None else str(value) for value in array.to_pylist()]


# Where pandas or a zone comes in, pyarrow makes the value: it is what a local read gives.
@lru_cache(maxsize=64)
def _timestamp_type(unit: str, zone: str | None) -> pa.DataType:
    return pa.timestamp(unit, zone)


def _timestamp(content: Any) -> Any:
    tick, unit, zone = content
    if zone is None and unit in _DELTAS:
        return _EPOCH + _DELTAS[unit] * tick
    return pa.scalar(tick, _timestamp_type(unit, zone)).as_py()


def _date(content: Any) -> dt.date:
    return dt.date.fromordinal(_EPOCH.toordinal() + content)


def _time(content: Any) -> Any:
    tick, unit = content
    return pa.scalar(tick, (pa.time32 if unit in ("s", "ms") else pa.time64)(unit)).as_py()


def _duration(content: Any) -> Any:
    tick, unit = content
    if unit in _DELTAS:
        return _DELTAS[unit] * tick
    return pa.scalar(tick, pa.duration(unit)).as_py()


def _map(content: Any) -> list[tuple[Any, Any]]:
    return [(restored(key), restored(value)) for key, value in content]


_RESTORERS: dict[str, Callable[[Any], Any]] = {
    BYTES_TAG: b64decode,
    TIMESTAMP_TAG: _timestamp,
    DATE_TAG: _date,
    TIME_TAG: _time,
    DURATION_TAG: _duration,
    DECIMAL_TAG: Decimal,
    FLOAT_TAG: float,
    MAP_TAG: _map,
    ESCAPE_TAG: restored_fields,
}
