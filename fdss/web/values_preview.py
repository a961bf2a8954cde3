"""Values in one line of text, made no further than it is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from .figures import size
from .values_types import dtype_of, field_feature, inner_feature

MOST_STRING = 40
MOST_LEVELS = 4
MOST_LEAF = 400

_SHORT_FLOATS: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}


def preview(value: Any, feature: Any, characters: int) -> str:
    """Return the begin of a value on one line, much as JSON would write it."""
    text = ""
    for token in _tokens(value, feature, MOST_LEVELS):
        text += token
        if len(text) > characters:
            return f"{text[:characters]}…"
    return text


def leaf_text(value: Any, dtype: str = "") -> str:
    """Return a value that holds no others, in full, as one reads it.

    Args:
        dtype: Of numbers; the digits of a ``float32`` are those that tell it from its neighbours.
    """
    if isinstance(value, float) and dtype in _SHORT_FLOATS:
        # A value of another server may be beyond what its type holds.
        with np.errstate(over="ignore"):
            return str(_SHORT_FLOATS[dtype](value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        # Of nanoseconds too, which come as a subclass.
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return size(len(value))
    return str(value)[:MOST_LEAF]


def _tokens(value: Any, feature: Any, levels: int) -> Iterator[str]:
    if isinstance(value, str):
        yield f'"{value[:MOST_STRING]}…"' if len(value) > MOST_STRING else f'"{value}"'
    elif isinstance(value, dict):
        fields = (
            _field(name, v, field_feature(feature, name), levels) for name, v in value.items()
        )
        yield from _inside("{}", fields, levels)
    elif isinstance(value, list | tuple):
        inner = inner_feature(feature)
        yield from _inside("[]", (_tokens(entry, inner, levels - 1) for entry in value), levels)
    else:
        yield leaf_text(value, dtype_of(feature))


def _field(name: Any, value: Any, feature: Any, levels: int) -> Iterator[str]:
    yield f"{str(name)[:MOST_STRING]}: "
    yield from _tokens(value, feature, levels - 1)


def _inside(brackets: str, entries: Iterator[Iterator[str]], levels: int) -> Iterator[str]:
    yield brackets[0]
    if levels <= 0:
        yield "…"
    else:
        for number, entry in enumerate(entries):
            if number:
                yield ", "
            yield from entry
    yield brackets[1]
