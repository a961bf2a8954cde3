"""The framing of Arrow IPC: where the messages of a file lie, found without reading their bodies.

A message is a length, a flatbuffer that says what the body is and how long, and the body. The
four numbers that are needed stand at places of the flatbuffer that the Arrow columnar format
(version 1.0 and on, ``Message.fbs``) has frozen, so they are picked out with ``struct``: only
metadata is read, and no Arrow object is made for a batch. What is found here is checked again
when a batch is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import DatasetDamaged

from .limits import MAX_METADATA_BYTES
from .ranges import OpenFile
from .stamps import Stamp, stamps_of

END = 0
SCHEMA = 1
DICTIONARY = 2
RECORD_BATCH = 3

#: What is read of a message at first: of most, all that tells where its values are.
HEAD_BYTES = 4096

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


@dataclass(frozen=True)
class Metadata:
    """The flatbuffer of a message, and what frames it.

    What does not lie within it raises ``struct.error`` or ``IndexError``.

    Attributes:
        content: The flatbuffer; nothing of it at the marker that ends a stream.
        lead_bytes: Bytes in front of it.
    """

    content: bytes
    lead_bytes: int

    @property
    def frame_bytes(self) -> int:
        """Return the bytes of the message in front of its body."""
        return self.lead_bytes + len(self.content)

    @property
    def header(self) -> int:
        """Return where the table lies that is of the kind of the message."""
        at = self._message_field(2)
        if not at:
            raise IndexError("a message without a header")
        return at + int(_UINT32.unpack_from(self.content, at)[0])

    @property
    def kind(self) -> int:
        """Return SCHEMA, DICTIONARY, RECORD_BATCH or END."""
        if not self.content:
            return END
        at = self._message_field(1)
        kind = self.content[at] if at else 0
        if kind not in (SCHEMA, DICTIONARY, RECORD_BATCH):
            raise IndexError(f"a message of kind {kind}")
        return kind

    @property
    def body_bytes(self) -> int:
        """Return the bytes of the body."""
        return self._number(self._message_field(3))

    @property
    def batch(self) -> int:
        """Return where the table of a record batch lies, which in a dictionary is an inner one."""
        header = self.header
        if self.kind != DICTIONARY:
            return header
        at = self.field(header, 1)
        if not at:
            raise IndexError("a dictionary without values")
        return at + int(_UINT32.unpack_from(self.content, at)[0])

    @property
    def rows(self) -> int:
        """Return the rows of a record batch."""
        return self._number(self.field(self.batch, 0))

    @property
    def is_compressed(self) -> bool:
        """Tell whether the buffers of a record batch are compressed."""
        return bool(self.field(self.batch, 3))

    @property
    def dictionary(self) -> tuple[int, bool]:
        """Return the id of a dictionary, and whether it adds to the one before it."""
        header = self.header
        id_at, delta_at = self.field(header, 0), self.field(header, 2)
        number = int(_INT64.unpack_from(self.content, id_at)[0]) if id_at else 0
        return number, bool(delta_at and self.content[delta_at])

    def vector(self, number: int) -> tuple[int, int]:
        """Return where a vector of a record batch lies, and how many entries it has."""
        at = self.field(self.batch, number)
        if not at:
            return 0, 0
        start = at + int(_UINT32.unpack_from(self.content, at)[0])
        return start + 4, int(_UINT32.unpack_from(self.content, start)[0])

    def field(self, table: int, number: int) -> int:
        """Return where a field of a flatbuffer table lies; 0 if the table leaves it out."""
        vtable = table - int(_INT32.unpack_from(self.content, table)[0])
        entry = 4 + 2 * number
        if vtable < 0 or _UINT16.unpack_from(self.content, vtable)[0] < entry + 2:
            return 0
        place = int(_UINT16.unpack_from(self.content, vtable + entry)[0])
        return table + place if place else 0

    def _message_field(self, number: int) -> int:
        return self.field(int(_UINT32.unpack_from(self.content, 0)[0]), number)

    def _number(self, at: int) -> int:
        number = int(_INT64.unpack_from(self.content, at)[0]) if at else 0
        if number < 0:
            raise IndexError(f"a message with {number}")
        return number


def read_metadata(file: OpenFile, offset: int, end: int) -> Metadata:
    """Return the metadata of the message at a byte of a file.

    Args:
        end: Behind the last byte that it may reach to.

    Raises:
        struct.error, IndexError: There is no message.
        ContentChanged: The file was cut since it was opened.
        DatasetDamaged: Metadata is larger than ``MAX_METADATA_BYTES``.
    """
    head = file.head(offset, min(HEAD_BYTES, end - offset))
    lead, length = 4, _UINT32.unpack_from(head, 0)[0]
    if length == _CONTINUATION:  # absent before Arrow 0.15
        lead, length = 8, _UINT32.unpack_from(head, 4)[0]
    if lead + length > end - offset:
        raise IndexError("a message that is cut")
    if length > MAX_METADATA_BYTES:
        raise DatasetDamaged(
            f"File {file.stamp.name!r} has {length:,} bytes of metadata in one message; "
            f"at most {MAX_METADATA_BYTES:,} are read."
        )
    if lead + length > len(head):
        head += file.head(offset + len(head), lead + length - len(head))
    return Metadata(head[lead : lead + length], lead)


def messages(path: Path) -> Iterator[Message]:
    """Yield the messages of an Arrow IPC stream or file, the schema first.

    The marker that ends it comes last; Arrow does not ask for one. What follows it is no part of
    the stream.

    Raises:
        DatasetDamaged: The file is cut, or is no Arrow file. Only its base name is told.
        ContentChanged: It changed meanwhile.
    """
    yield from messages_of(*stamps_of([path]))


def messages_of(stamp: Stamp) -> Iterator[Message]:
    """Yield the messages of a file that was stamped, as ``messages`` does."""
    if not stamp.size:
        raise DatasetDamaged(f"Arrow file {stamp.name!r} is empty.")
    try:
        with OpenFile(stamp) as file:
            yield from _walked(file)
            file.check()
    except (struct.error, IndexError, OverflowError) as exc:
        raise DatasetDamaged(f"File {stamp.name!r} is no Arrow stream, or is cut.") from exc


def _walked(file: OpenFile) -> Iterator[Message]:
    offset, size, name = 0, file.stamp.size, file.stamp.name
    if _ends(file, 0) == _FILE_MAGIC:
        if size < 2 * _FILE_LEAD_BYTES or _ends(file, size - len(_FILE_MAGIC)) != _FILE_MAGIC:
            raise DatasetDamaged(f"Arrow file {name!r} is cut: it has no footer.")
        offset = _FILE_LEAD_BYTES
    expected_schema = True
    while offset < size:
        message = _message_at(file, offset)
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


def _ends(file: OpenFile, offset: int) -> bytes:
    """Return what stands where an Arrow file has its magic."""
    return file.head(offset, min(len(_FILE_MAGIC), file.stamp.size - offset))


def _message_at(file: OpenFile, offset: int) -> Message:
    """Return the message at a byte of the file."""
    metadata = read_metadata(file, offset, file.stamp.size)
    kind = metadata.kind
    if kind == END:
        return Message(END, offset, metadata.lead_bytes)
    length = metadata.frame_bytes + metadata.body_bytes
    if kind == DICTIONARY:
        number, is_delta = metadata.dictionary
        return Message(kind, offset, length, dictionary=number, is_delta=is_delta)
    if kind == SCHEMA:
        return Message(kind, offset, length)
    return Message(kind, offset, length, metadata.rows, is_compressed=metadata.is_compressed)
