"""What lies inside decoded values: entries by their number, files, and the whole as JSON."""

from __future__ import annotations

import datetime as dt
import math
from base64 import b64encode
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from fdss.wire.plain import BYTES_TAG

from .values_text import shortened
from .values_types import FILES, field_feature, inner_feature, kind_of

MOST_NAME = 80
#: Lists and dicts within one another that JSON is written for; what lies deeper is told as such.
MOST_LEVELS = 100
TOO_DEEP = "nested too deeply"


def is_file(value: Any) -> bool:
    """Return whether a value is an encoded file as ``datasets`` stores it."""
    return isinstance(value, dict) and {"bytes", "path"} >= set(value) and bool(value)


def file_name(value: dict[str, Any]) -> str:
    """Return the last component of a file's path: the others are the server's own."""
    path = value.get("path")
    # Of Windows, of URLs, and of members of archives.
    name = path.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(path, str) else ""
    return shortened(name, MOST_NAME)


def parsed_json(text: str) -> Any:
    """Return what a JSON text holds; the text itself if it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def inside(value: Any, feature: Any, at: Iterable[int]) -> tuple[Any, Any]:
    """Return what is at a place in a value, and its feature.

    Raises:
        LookupError: Nothing is there.
    """
    for number in at:
        if kind_of(feature) == "Json" and isinstance(value, str):
            value, feature = parsed_json(value), None
        if kind_of(feature) in FILES and is_file(value):
            # Its bytes and its path, of which the path stays with the server.
            raise LookupError("a file has no entries")
        if isinstance(value, dict):
            name = list(value)[number]
            value, feature = value[name], field_feature(feature, name)
        elif isinstance(value, list | tuple):
            value, feature = value[number], inner_feature(feature)
        else:
            raise LookupError(f"a value of type {type(value).__name__} has no entries")
    return value, feature


def json_text(value: Any, feature: Any, *, is_pretty: bool = True) -> bytes:
    """Return a value as JSON, in the words of the plain dialect.

    Of a path to an image or a sound only the last component is told.
    """
    option = orjson.OPT_INDENT_2 if is_pretty else 0
    return orjson.dumps(_ready(value, feature, MOST_LEVELS), option=option)


def _ready(value: Any, feature: Any, levels: int) -> Any:
    if kind_of(feature) == "Json" and isinstance(value, str):
        value, feature = parsed_json(value), None
    if isinstance(value, dict | list | tuple) and not levels:
        return TOO_DEEP
    if isinstance(value, dict):
        return {
            _sound(str(name)): _ready(inner, field_feature(feature, name), levels - 1)
            for name, inner in _told(value, feature).items()
        }
    if isinstance(value, list | tuple):
        inner_kind = inner_feature(feature)
        return [_ready(inner, inner_kind, levels - 1) for inner in value]
    return _ready_leaf(value)


def _told(value: dict[str, Any], feature: Any) -> dict[str, Any]:
    if kind_of(feature) in FILES and is_file(value) and isinstance(value.get("path"), str):
        return {**value, "path": file_name(value)}
    return value


def _ready_leaf(value: Any) -> Any:
    if isinstance(value, str):
        return _sound(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {BYTES_TAG: b64encode(value).decode("ascii")}
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    is_carried = value is None or isinstance(value, bool | float) or _is_carried_integer(value)
    return value if is_carried else str(value)


def _is_carried_integer(value: Any) -> bool:
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 64


def _sound(text: str) -> str:
    """Return a text without the surrogates that no UTF-8 has."""
    return text.encode("utf-8", "replace").decode("utf-8")
