"""Arrow columns as lists of values that JSON can hold, a column at a time.

``converter`` looks at an Arrow type once and returns the function for it: a tree as deep as the
type is nested. What stands at the leaves, and how a map or a struct is written, is the choice of
the dialect: ``fdss.wire.plain`` or ``fdss.wire.tagged``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import types

from fdss.errors import UncarriableValue

Converter = Callable[[pa.Array], list[Any]]

# Below this mean length plain Python lists are quicker than one numpy view a row.
_VIEW_VALUES = 16


class Dialect:
    """What values the leaves, maps and structs of a column become."""

    name = ""

    def leaf(self, type_: pa.DataType) -> Converter | None:
        """Return the converter of a type without children; None if it has no form."""
        raise NotImplementedError

    def numbers(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return numbers as numpy holds them for JSON, and which of them the leaf must write."""
        raise NotImplementedError

    def map_rows(self, rows: list[Any]) -> list[Any]:
        """Return maps, each a list of (key, value) or None, as the dialect writes them."""
        raise NotImplementedError

    def struct_rows(self, names: list[str], rows: list[Any]) -> list[Any]:
        """Return structs, each a dict or None, as the dialect writes them."""
        raise NotImplementedError


def is_number(type_: pa.DataType) -> bool:
    """Tell whether a type's values are integers or floats, which numpy holds as they are."""
    return bool(types.is_integer(type_) or types.is_floating(type_))


def is_list(type_: pa.DataType) -> bool:
    """Tell whether a type's values are lists, maps left aside."""
    return bool(
        types.is_list(type_)
        or types.is_large_list(type_)
        or types.is_fixed_size_list(type_)
        or types.is_list_view(type_)
        or types.is_large_list_view(type_)
    )


def converter(type_: pa.DataType, dialect: Dialect, column: str) -> Converter:
    """Return the function that turns arrays of one Arrow type into lists of Python values.

    Args:
        column: Name that an error gives.

    Raises:
        UncarriableValue: The dialect has no form for the type or for one inside it.
    """
    wrapped = _wrapped(type_, dialect, column)
    if wrapped is not None:
        return wrapped
    if types.is_map(type_):
        return _maps(type_, dialect, column)
    if types.is_struct(type_):
        return _structs(type_, dialect, column)
    if is_list(type_):
        return _lists(type_, dialect, column)
    leaf = None if types.is_nested(type_) else dialect.leaf(type_)
    if leaf is None:
        raise UncarriableValue(
            f"Column {column!r} holds the Arrow type {type_}, which {dialect.name} rows "
            "have no form for.",
            hint="leave the column out with columns=, or store it as another type",
        )
    return leaf


def converted(array: pa.Array, convert: Converter, column: str) -> list[Any]:
    """Return a column's values.

    Raises:
        UncarriableValue: A value is outside what Python has a type for, or is not valid UTF-8.
    """
    try:
        return convert(array)
    except (ValueError, OverflowError, pa.ArrowException) as exc:
        raise UncarriableValue(
            f"Column {column!r} of type {array.type} holds a value that cannot be read: {exc}."
        ) from exc


def _wrapped(type_: pa.DataType, dialect: Dialect, column: str) -> Converter | None:
    """Return the converter of a type that is another type in disguise."""
    if isinstance(type_, pa.BaseExtensionType):
        inner = converter(type_.storage_type, dialect, column)
        return lambda array: inner(array.storage)
    if types.is_dictionary(type_):
        inner = converter(type_.value_type, dialect, column)
        return lambda array: inner(array.dictionary_decode())
    if types.is_run_end_encoded(type_):
        inner = converter(type_.value_type, dialect, column)
        return lambda array: inner(pc.run_end_decode(array))
    return None


def _lists(type_: pa.DataType, dialect: Dialect, column: str) -> Converter:
    child = converter(type_.value_type, dialect, column)
    number = is_number(type_.value_type)

    def convert(array: pa.Array) -> list[Any]:
        begin, end, spans = _spans(array)
        values = array.values.slice(begin, end - begin)
        if number and not values.null_count and len(values) >= _VIEW_VALUES * len(array):
            return _valid(array, _number_rows(values, spans, dialect, child))
        flat = child(values)
        return _valid(array, [flat[b:e] for b, e in spans])

    return convert


def _number_rows(
    values: pa.Array, spans: list[tuple[int, int]], dialect: Dialect, leaf: Converter
) -> list[Any]:
    """Return a numpy view a row, and a list where a number of the row needs the leaf's form."""
    flat, odd = dialect.numbers(values.to_numpy())
    if odd is None or not odd.any():
        return [flat[b:e] for b, e in spans]
    counts = np.concatenate(([0], np.cumsum(odd))).tolist()
    return [flat[b:e] if counts[b] == counts[e] else leaf(values.slice(b, e - b)) for b, e in spans]


def _maps(type_: pa.DataType, dialect: Dialect, column: str) -> Converter:
    key = converter(type_.key_type, dialect, column)
    item = converter(type_.item_type, dialect, column)

    def convert(array: pa.Array) -> list[Any]:
        begin, end, spans = _spans(array)
        keys = key(array.keys.slice(begin, end - begin))
        items = item(array.items.slice(begin, end - begin))
        entries = list(zip(keys, items, strict=True))
        return dialect.map_rows(_valid(array, [entries[b:e] for b, e in spans]))

    return convert


def _structs(type_: pa.DataType, dialect: Dialect, column: str) -> Converter:
    names = [field.name for field in type_]
    if len(set(names)) < len(names):
        raise UncarriableValue(
            f"Column {column!r} holds structs with two fields of one name: {names!r}."
        )
    children = [converter(field.type, dialect, column) for field in type_]

    def convert(array: pa.Array) -> list[Any]:
        columns = [child(values) for child, values in zip(children, array.flatten(), strict=True)]
        return dialect.struct_rows(names, _valid(array, zipped(names, columns, len(array))))

    return convert


def zipped(names: list[str], columns: list[list[Any]], count: int) -> list[dict[str, Any]]:
    """Return ``count`` dicts from as many lists as there are names."""
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _spans(array: pa.Array) -> tuple[int, int, list[tuple[int, int]]]:
    """Return which part of the child array a list column uses, and each row's span in it."""
    begins, ends = _bounds(array)
    if not len(begins):
        return 0, 0, []
    begin, end = int(begins.min()), int(ends.max())
    spans = zip((begins - begin).tolist(), (ends - begin).tolist(), strict=True)
    return begin, end, list(spans)


def _bounds(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each row begins and ends in the child array."""
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        begins = (np.arange(len(array)) + array.offset) * size
        return begins, begins + size
    offsets = array.offsets.to_numpy().astype(np.int64)
    if types.is_list_view(array.type) or types.is_large_list_view(array.type):
        return offsets, offsets + array.sizes.to_numpy()
    return offsets[:-1], offsets[1:]


def _valid(array: pa.Array, rows: list[Any]) -> list[Any]:
    """Return the rows with None where the array says null."""
    if not array.null_count:
        return rows
    valid = array.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [row if known else None for row, known in zip(rows, valid, strict=True)]
