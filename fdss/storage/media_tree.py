"""Where media stand in a column, however deep in lists and structs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_LISTS = {"List", "LargeList", "Sequence"}
_NO_MEDIA = {"Value", "ClassLabel", "Translation", "TranslationVariableLanguages"}


class File(NamedTuple):
    """A struct of bytes and path."""


class Items(NamedTuple):
    """A list of something with media in it."""

    inner: Any


class Fields(NamedTuple):
    """A struct with media in some fields."""

    inner: dict[str, Any]


Tree = File | Items | Fields


def tree_of(feature: Any, type_: pa.DataType) -> Tree | None:
    """Return where media stand in a column; None if there are none."""
    if isinstance(feature, list):
        return _items_tree(feature[0], type_)
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return _fields_tree(feature, type_)
    if kind in _LISTS and pa.types.is_struct(type_):
        # A Sequence of a dict is stored as a dict of lists.
        return _fields_tree({name: [inner] for name, inner in feature["feature"].items()}, type_)
    if kind in _LISTS:
        return _items_tree(feature["feature"], type_)
    if kind in _NO_MEDIA or not pa.types.is_struct(type_):
        return None
    return File() if {"bytes", "path"} <= {field.name for field in type_} else None


def _items_tree(feature: Any, type_: pa.DataType) -> Tree | None:
    # The entries of a map are structs of a key and an item.
    inner = tree_of(feature, type_.field(0).type)
    return None if inner is None else Items(inner)


def _fields_tree(features: dict[str, Any], type_: pa.DataType) -> Tree | None:
    inner = {name: tree_of(features[name], type_.field(name).type) for name in features}
    known = {name: found for name, found in inner.items() if found is not None}
    return Fields(known) if known else None


def values(
    array: pa.Array, tree: Tree, rows: NDArray[np.int64], is_live: NDArray[np.bool_]
) -> Iterator[tuple[pa.StructArray, NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield the values of every media feature in a column, with their rows."""
    if array.null_count:
        is_live = is_live & array.is_valid().to_numpy(zero_copy_only=False)
    if isinstance(tree, File):
        yield array, rows, is_live
    elif isinstance(tree, Fields):
        for name, below in tree.inner.items():
            yield from values(array.field(name), below, rows, is_live)
    else:
        counts = np.diff(_offsets(array))
        inner_rows, inner_live = np.repeat(rows, counts), np.repeat(is_live, counts)
        yield from values(items(array), tree.inner, inner_rows, inner_live)


def rebuilt(array: pa.Array, tree: Tree, filled: Iterator[pa.StructArray]) -> pa.Array:
    """Return a column with other media values, taken in the order of ``values``."""
    if isinstance(tree, File):
        return next(filled)
    if isinstance(tree, Fields):
        fields = tree.inner.items()
        return with_fields(
            array, {name: rebuilt(array.field(name), below, filled) for name, below in fields}
        )
    inner = rebuilt(items(array), tree.inner, filled)
    nulls = array.is_null() if array.null_count else None
    if pa.types.is_fixed_size_list(array.type):
        return pa.FixedSizeListArray.from_arrays(inner, type=array.type, mask=nulls)
    offsets = pc.subtract(array.offsets, array.offsets[0])
    return type(array).from_arrays(offsets, inner, type=array.type, mask=nulls)


def with_fields(array: pa.StructArray, others: dict[str, pa.Array]) -> pa.StructArray:
    """Return structs with other values in some fields."""
    fields = list(array.type)
    children = [others.get(field.name, array.field(at)) for at, field in enumerate(fields)]
    nulls = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(children, fields=fields, mask=nulls)


def items(array: pa.Array) -> pa.Array:
    """Return the items of some lists, also what stands below a null; nothing is copied."""
    offsets = _offsets(array)
    return array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def _offsets(array: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_fixed_size_list(array.type):
        numbers = np.arange(array.offset, array.offset + len(array) + 1, dtype=np.int64)
        return np.asarray(numbers * array.type.list_size)
    return np.asarray(array.offsets.to_numpy(), np.int64)
