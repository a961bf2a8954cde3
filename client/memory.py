"""Rows that a program holds already, as a backend."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fdss.backend import Chunk, FeaturesJson, Row, Selection
from fdss.errors import UncarriableValue, UnknownColumn
from fdss.order import Order

CHUNK_ROWS = 1024


class InMemoryBackend:
    """A sequence of rows, for tests and for data that is made rather than stored.

    Rows are handed out as shallow copies. Features are unknown (empty): the values are whatever
    the rows hold, and a row may be None or empty.

    Args:
        rows: Not changed while the backend is in use.
        fingerprint: Names the content; None computes it from all values, which have to be None,
            bool, int, float, str, bytes, date, time, datetime, timedelta, Decimal, numpy arrays
            and scalars, and lists, tuples and dicts of them.
    """

    def __init__(self, rows: Sequence[Row], *, fingerprint: str | None = None) -> None:
        self._rows = rows
        self._named_fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def fingerprint(self) -> str:
        """Return the content fingerprint.

        Raises:
            UncarriableValue: A value has no canonical form, and no fingerprint was given.
        """
        if self._named_fingerprint is not None:
            return self._named_fingerprint
        digest = hashlib.sha256()
        for at, row in enumerate(self._rows):
            try:
                digest.update(b"".join(_canonical(row)))
            except UncarriableValue as exc:
                raise UncarriableValue(
                    f"Row {at} {exc.message}; the content has no fingerprint.",
                    hint="name the content yourself: InMemoryBackend(rows, fingerprint=...)",
                ) from None
        return digest.hexdigest()

    @cached_property
    def column_names(self) -> list[str]:
        """Return the keys of the rows, as they are first seen."""
        return list(dict.fromkeys(name for row in self._rows for name in row or ()))

    @property
    def features(self) -> FeaturesJson:
        """Return nothing: the rows say no types."""
        return {}

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order.

        Raises:
            UnknownColumn: A column is in no row.
        """
        missing = sorted(set(selection.columns or ()) - set(self.column_names))
        if missing:
            raise UnknownColumn(
                f"Columns {missing} were asked for; the rows have {self.column_names}."
            )
        order = Order(len(selection.rows), selection.seed, selection.block, selection.window)
        for begin in range(0, len(selection), CHUNK_ROWS):
            places = order.rows(selection.places(begin, begin + CHUNK_ROWS))
            yield _Rows(
                [
                    _copied(self._rows[selection.rows[place]], selection.columns)
                    for place in places.tolist()
                ]
            )


class _Rows:
    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[Row]:
        return self._rows


def _copied(row: Row, columns: tuple[str, ...] | None) -> Row:
    if not isinstance(row, Mapping):
        return row
    if columns is None:
        return dict(row)
    return {name: row[name] for name in columns if name in row}


# Exact classes: a subclass may hold more than its base's text says.
_TEXTS: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "",
    bool: str,
    int: str,
    float: float.hex,
    str: str,
    decimal.Decimal: str,
    dt.date: dt.date.isoformat,
    dt.time: lambda value: f"{value.isoformat()} {value.fold} {value.tzinfo or ''}",
    dt.datetime: lambda value: f"{value.isoformat()} {value.fold} {value.tzinfo or ''}",
    dt.timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}",
}


def _canonical(value: Any) -> Iterator[bytes]:
    """Yield a form that is the same for equal values of equal types, and else another one."""
    kind = type(value)
    if kind in _TEXTS:
        yield _framed(kind.__name__, _TEXTS[kind](value).encode("utf-8", "surrogatepass"))
    elif kind is bytes:
        yield _framed("bytes", value)
    elif kind in (list, tuple):
        yield _framed(kind.__name__, b"%d" % len(value))
        for element in value:
            yield from _canonical(element)
    elif isinstance(value, Mapping):
        yield _framed("dict", b"%d" % len(value))
        for name, element in value.items():
            yield from _canonical(name)
            yield from _canonical(element)
    elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        yield _framed(f"{value.dtype.str}{value.shape}", value.tobytes())
    else:
        raise UncarriableValue(f"holds a {kind.__module__}.{kind.__qualname__}")


def _framed(kind: str, content: bytes) -> bytes:
    return b"%s %d:%s" % (kind.encode(), len(content), content)
