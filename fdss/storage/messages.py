"""The framing of Arrow IPC: where the messages of a file lie, found without reading their bodies.

A message is a length, a flatbuffer that says what the body is and how long, and the body. The
four numbers that are needed stand at places of the flatbuffer that the Arrow columnar format
(version 1.0 and on, ``Message.fbs``) has frozen, so they are picked out with ``struct``: only the
pages that hold metadata are touched, and no Arrow object is made for a batch. What is found here
is checked by Arrow itself when a batch is read.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import DatasetDamaged

END = 0
SCHEMA = 1
DICTIONARY = 2
RECORD_BATCH = 3

_FILE_MAGIC = b"ARROW1"
_FILE_LEAD_BYTES = 8
_CONTINUATION = 0xFFFFFFFF
_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_INT64 = struct.Struct("<q")


@dataclass(frozen=True)
class Message:
    """Where a message lies in its file, and what it carries.

    Attributes:
        kind: SCHEMA, DICTIONARY, RECORD_BATCH, or END for the marker that ends a stream.
        offset: First byte of the frame in the file.
        length: Bytes of the frame and the body.
        rows: Rows of a record batch.
        dictionary: Id of a dictionary; -1 for other messages.
        is_delta: Whether a dictionary adds to the one before it, rather than replacing it.
        is_compressed: Whether the buffers of a record batch are compressed.
    """

    kind: int
    offset: int
    length: int
    rows: int = 0
    dictionary: int = -1
    is_delta: bool = False
    is_compressed: bool = False


def messages(path: Path) -> Iterator[Message]:
    """Yield the messages of an Arrow IPC stream or file, the schema first.

    The marker that ends it comes last; Arrow does not ask for one. What follows it is no part of
    the stream.

    Raises:
        DatasetDamaged: The file is cut, or is no Arrow file. Only its base name is told.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            if not file.tell():
                raise DatasetDamaged(f"Arrow file {path.name!r} is empty.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _walked(content, path.name)
    except (struct.error, IndexError, OverflowError) as exc:
        raise DatasetDamaged(f"File {path.name!r} is no Arrow stream, or is cut.") from exc


def _walked(content: mmap.mmap, name: str) -> Iterator[Message]:
    offset, size = 0, len(content)
    if content[: len(_FILE_MAGIC)] == _FILE_MAGIC:
        if content[-len(_FILE_MAGIC) :] != _FILE_MAGIC or size < 2 * _FILE_LEAD_BYTES:
            raise DatasetDamaged(f"Arrow file {name!r} is cut: it has no footer.")
        offset = _FILE_LEAD_BYTES
    expected_schema = True
    while offset < size:
        message = _message_at(content, offset)
        if message.kind == END:
            if not expected_schema:
                yield message
            break
        end = offset + message.length
        if end > size:
            raise DatasetDamaged(
                f"Arrow file {name!r} is cut: a message ends at byte {end:,} of {size:,}."
            )
        if message.length <= 0 or (message.kind == SCHEMA) != expected_schema:
            raise DatasetDamaged(f"File {name!r} is no Arrow stream (byte {offset:,}).")
        expected_schema = False
        yield message
        offset = end
    if expected_schema:
        raise DatasetDamaged(f"Arrow file {name!r} has no schema.")


def _message_at(content: mmap.mmap, offset: int) -> Message:
    """Return the message at a byte of the file."""
    lead, metadata_bytes = 4, _UINT32.unpack_from(content, offset)[0]
    if metadata_bytes == _CONTINUATION:  # absent before Arrow 0.15
        lead, metadata_bytes = 8, _UINT32.unpack_from(content, offset + 4)[0]
    if metadata_bytes == 0:
        return Message(END, offset, lead)
    root = offset + lead
    table = root + _UINT32.unpack_from(content, root)[0]
    kind_at = _field(content, table, 1)
    header_at = _field(content, table, 2)
    body_at = _field(content, table, 3)
    kind = content[kind_at] if kind_at else 0
    body_bytes = _INT64.unpack_from(content, body_at)[0] if body_at else 0
    if kind not in (SCHEMA, DICTIONARY, RECORD_BATCH) or not header_at or body_bytes < 0:
        raise IndexError(offset)
    length = lead + metadata_bytes + body_bytes
    if kind == SCHEMA:
        return Message(kind, offset, length)
    header = header_at + _UINT32.unpack_from(content, header_at)[0]
    if kind == DICTIONARY:
        id_at, delta_at = _field(content, header, 0), _field(content, header, 2)
        number = _INT64.unpack_from(content, id_at)[0] if id_at else 0
        is_delta = bool(delta_at and content[delta_at])
        return Message(kind, offset, length, dictionary=number, is_delta=is_delta)
    rows_at = _field(content, header, 0)
    rows = _INT64.unpack_from(content, rows_at)[0] if rows_at else 0
    if rows < 0:
        raise IndexError(offset)
    return Message(kind, offset, length, rows, is_compressed=bool(_field(content, header, 3)))


def _field(content: mmap.mmap, table: int, number: int) -> int:
    """Return where a field of a flatbuffer table lies; 0 if the table leaves it out."""
    vtable = table - _INT32.unpack_from(content, table)[0]
    entry = 4 + 2 * number
    if vtable < 0 or _UINT16.unpack_from(content, vtable)[0] < entry + 2:
        return 0
    place = _UINT16.unpack_from(content, vtable + entry)[0]
    return table + place if place else 0
