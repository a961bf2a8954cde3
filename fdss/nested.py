"""Arrow types that hold others: their parts, and the same type of other parts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def inner_fields(type_: pa.DataType) -> list[pa.Field]:
    """Return the fields that a struct, a list or a map consists of; of other types none."""
    if pa.types.is_struct(type_):
        return [type_.field(number) for number in range(type_.num_fields)]
    if pa.types.is_map(type_):
        return [type_.key_field, type_.item_field]
    if (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    ):
        return [type_.value_field]
    return []


def with_inner_fields(type_: pa.DataType, inner: Sequence[pa.Field]) -> pa.DataType:
    """Return a type of other parts, as many as ``inner_fields`` gives; of none the type itself."""
    if pa.types.is_struct(type_):
        return pa.struct(inner)
    if pa.types.is_map(type_):
        return pa.map_(*inner, keys_sorted=type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(inner[0], type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(inner[0])
    if pa.types.is_list(type_):
        return pa.list_(inner[0])
    return type_
