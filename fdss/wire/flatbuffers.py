"""Numbers that stand in the metadata of an Arrow IPC message.

They stand at places of the flatbuffer that the Arrow columnar format (version 1.0 and on,
``Message.fbs``) has frozen, so they are picked out with ``struct``, and no Arrow object is made.
A place outside of the metadata is a ``struct.error`` or an ``IndexError``.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SCHEMA = 1
DICTIONARY = 2
RECORD_BATCH = 3

_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_INT64 = struct.Struct("<q")
_PAIR_BYTES = 16

Content = bytes | memoryview


class Told(NamedTuple):
    """What the metadata of a message says.

    Attributes:
        kind: SCHEMA, DICTIONARY, RECORD_BATCH, or something else.
        body_bytes: Bytes of the body.
        rows: Rows of a record batch, or values of a dictionary.
        values: Values of all columns and of all columns inside of them.
        buffers: Offset in the body and length in bytes, by turns, of each buffer.
        is_compressed: Whether each buffer begins with its uncompressed length.
    """

    kind: int
    body_bytes: int
    rows: int = 0
    values: int = 0
    buffers: tuple[int, ...] = ()
    is_compressed: bool = False


def told(content: Content) -> Told:
    """Return what the metadata of a message says.

    Raises:
        struct.error, IndexError, OverflowError, ValueError: It is damaged.
    """
    table = _UINT32.unpack_from(content, 0)[0]
    kind_at, header_at, body_at = (_field(content, table, number) for number in (1, 2, 3))
    kind = content[kind_at] if kind_at else 0
    body_bytes = _INT64.unpack_from(content, body_at)[0] if body_at else 0
    if body_bytes < 0 or not header_at:
        raise ValueError("a message without a header or with a negative length")
    if kind not in (DICTIONARY, RECORD_BATCH):
        return Told(kind, body_bytes)
    batch = _at(content, header_at)
    if kind == DICTIONARY:
        data_at = _field(content, batch, 1)
        if not data_at:
            return Told(kind, body_bytes)
        batch = _at(content, data_at)
    rows_at = _field(content, batch, 0)
    rows = _INT64.unpack_from(content, rows_at)[0] if rows_at else 0
    lengths = _pairs(content, _field(content, batch, 1))[::2]
    if rows < 0 or (lengths and min(lengths) < 0):
        raise ValueError("a record batch of negative length")
    buffers = _pairs(content, _field(content, batch, 2))
    return Told(kind, body_bytes, rows, sum(lengths), buffers, bool(_field(content, batch, 3)))


def _pairs(content: Content, at: int) -> tuple[int, ...]:
    """Return a vector of pairs of int64, all in a row; the place 0 is that of an empty one."""
    if not at:
        return ()
    begin = _at(content, at)
    count = _UINT32.unpack_from(content, begin)[0]
    if count * _PAIR_BYTES > len(content):
        raise IndexError("a vector is longer than what holds it")
    return struct.unpack_from(f"<{2 * count}q", content, begin + 4)


def _at(content: Content, place: int) -> int:
    return int(place + _UINT32.unpack_from(content, place)[0])


def _field(content: Content, table: int, number: int) -> int:
    """Return where a field of a flatbuffer table lies; 0 if the table leaves it out."""
    vtable = table - _INT32.unpack_from(content, table)[0]
    entry = 4 + 2 * number
    if vtable < 0 or _UINT16.unpack_from(content, vtable)[0] < entry + 2:
        return 0
    place = _UINT16.unpack_from(content, vtable + entry)[0]
    return int(table + place) if place else 0
