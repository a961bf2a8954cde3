"""Whether the values of a record batch lie within it.

Arrow follows the offsets inside a batch without a look at where they lead, and one that leads out
of it ends the process. Whether text is UTF-8 is left to whoever makes text of it: that would be a
look at every byte, where offsets alone are a page of memory or two.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

_BYTES_OF = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def check_bounds(column: pa.Array) -> None:
    """Look through the offsets, the lengths and the counts of nulls of a column.

    Raises:
        pa.ArrowException: A value does not lie within the column.
    """
    bytes_type = _bytes_type(column.type)
    viewed = column if bytes_type == column.type else column.view(bytes_type)
    viewed.validate(full=True)


@lru_cache(256)
def _bytes_type(type_: pa.DataType) -> pa.DataType:
    """Return the type with bytes for text, laid out alike; itself if it has no text."""
    if type_ in _BYTES_OF:
        return _BYTES_OF[type_]
    if not type_.num_fields or isinstance(type_, pa.DictionaryType):
        return type_
    inner = [type_.field(at) for at in range(type_.num_fields)]
    types = [_bytes_type(field.type) for field in inner]
    if all(new == field.type for new, field in zip(types, inner, strict=True)):
        return type_
    return _rebuilt(type_, [f.with_type(t) for f, t in zip(inner, types, strict=True)])


def _rebuilt(type_: pa.DataType, inner: list[pa.Field]) -> pa.DataType:
    if pa.types.is_struct(type_):
        return pa.struct(inner)
    if pa.types.is_map(type_):
        return pa.map_(*(field.type for field in inner[0].type), keys_sorted=type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(inner[0], type_.list_size)
    if pa.types.is_list(type_):
        return pa.list_(inner[0])
    if pa.types.is_large_list(type_):
        return pa.large_list(inner[0])
    return type_
