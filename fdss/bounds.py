"""Whether the values of a record batch lie within it.

Arrow follows the offsets inside a batch without a look at where they lead, and one that leads out
of it ends the process. Whether text is UTF-8 is left to whoever makes text of it: that would be a
look at every byte, where offsets alone are a page of memory or two.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

from fdss.nested import inner_fields, with_inner_fields

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
    inner = inner_fields(type_)
    return with_inner_fields(type_, [field.with_type(_bytes_type(field.type)) for field in inner])
