"""The messages of an Arrow body, each looked at before Arrow acts on what it says."""

from __future__ import annotations

import struct
from typing import Protocol

from fdss.errors import AnswerTooLarge, PageForeign
from fdss.wire import flatbuffers
from fdss.wire.flatbuffers import Told, told

from .limits import ClientLimits

_CONTINUATION = b"\xff\xff\xff\xff"
_UINT32 = struct.Struct("<I")
_INT64 = struct.Struct("<q")
_LEAD_BYTES = 8

# The most values a byte holds, and how many may stand without any bytes: lists of nothing.
_VALUES_A_BYTE = 8
_FREE_VALUES = 1 << 20


class Stream(Protocol):
    """A binary file."""

    def read(self, count: int) -> memoryview:
        """Return ``count`` bytes, and fewer at the end."""


class CheckedMessages:
    """The same bytes, once each message of them is known to keep within the limits.

    A few bytes can say that as many gigabytes are to be allocated: a length of the message, of a
    compressed buffer, or of a column that has none.
    """

    def __init__(self, stream: Stream, limits: ClientLimits, most_rows: int) -> None:
        """Begin.

        Args:
            stream: The body.
            most_rows: Rows that all batches may have together.
        """
        self._stream = stream
        self._limits = limits
        self._rows_left = most_rows
        self._dictionary_bytes = 0
        self._pieces: list[memoryview] = []

    def read(self, count: int) -> memoryview:
        """Return ``count`` bytes, and fewer at the end.

        Raises:
            AnswerTooLarge: A message goes beyond a limit.
            PageForeign: It is none, or has more rows than are left.
        """
        if not self._pieces:
            self._next_message()
        piece = self._pieces[0]
        if count < len(piece):
            self._pieces[0] = piece[count:]
            return piece[:count]
        if count == len(piece) or not piece:
            return self._pieces.pop(0)
        return self._joined(count)

    def _joined(self, count: int) -> memoryview:
        """Return bytes of several pieces; Arrow asks for one at a time and never comes here."""
        parts: list[memoryview] = []
        while count:
            part = self.read(min(count, len(self._pieces[0]) if self._pieces else count))
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return memoryview(b"".join(parts))

    def _next_message(self) -> None:
        lead = self._stream.read(_LEAD_BYTES).cast("B")
        self._pieces = [lead]
        if len(lead) < _LEAD_BYTES:
            return
        if lead[:4] != _CONTINUATION:
            raise PageForeign("the body is no Arrow stream: a message has no mark in front of it")
        self._pieces = [lead[:4], lead[4:]]
        metadata_bytes = _UINT32.unpack_from(lead, 4)[0]
        if not metadata_bytes:
            return
        if metadata_bytes > self._limits.answer_bytes:
            raise self._limits.too_large(
                "answer_bytes", f"A message announces {metadata_bytes:,} bytes of metadata"
            )
        metadata = self._stream.read(metadata_bytes)
        self._pieces.append(metadata)
        if len(metadata) < metadata_bytes:
            return
        try:
            message = told(metadata)
        except (struct.error, IndexError, OverflowError, ValueError) as exc:
            raise PageForeign(f"the body is no Arrow stream: {exc}") from exc
        try:
            self._check(message)
            body = self._stream.read(message.body_bytes)
            if message.body_bytes:
                self._pieces.append(body)
            if len(body) == message.body_bytes:
                self._check_values(message, body)
        except AnswerTooLarge as exc:
            exc.rows = max(1, message.rows)
            raise

    def _check(self, message: Told) -> None:
        if message.kind == flatbuffers.RECORD_BATCH:
            if message.rows > self._rows_left:
                raise PageForeign(
                    f"a record batch announces {message.rows:,} rows;"
                    f" {self._rows_left:,} are left of those asked for"
                )
            self._rows_left -= message.rows
        self._check_size(message, message.body_bytes)
        if message.kind == flatbuffers.DICTIONARY:
            self._dictionary_bytes += message.body_bytes
            self._check_most(self._dictionary_bytes, "Dictionaries have")

    def _check_size(self, message: Told, size_bytes: int) -> None:
        if message.rows == 1 and size_bytes > self._limits.row_bytes:
            raise self._limits.too_large("row_bytes", f"A row has {size_bytes:,} bytes")
        self._check_most(size_bytes, "A record batch has")

    def _check_values(self, message: Told, body: memoryview) -> None:
        size_bytes = len(body)
        if message.is_compressed:
            size_bytes = _uncompressed_bytes(message, body)
            self._check_size(message, size_bytes)
        free = message.rows * (1 + len(message.buffers) // 2) + _FREE_VALUES
        if message.values > min(self._limits.most_values, _VALUES_A_BYTE * size_bytes + free):
            raise self._limits.too_large(
                "batch_bytes",
                f"A record batch of {size_bytes:,} bytes announces {message.values:,} values",
            )

    def _check_most(self, size_bytes: int, what: str) -> None:
        if size_bytes > self._limits.most_batch_bytes:
            raise self._limits.too_large("batch_bytes", f"{what} {size_bytes:,} bytes")


def _uncompressed_bytes(message: Told, body: memoryview) -> int:
    """Return what the buffers of a compressed body say that they will take."""
    total = 0
    for offset, length in zip(message.buffers[::2], message.buffers[1::2], strict=True):
        if length == 0:
            continue
        if offset < 0 or length < _INT64.size or offset + length > len(body):
            raise PageForeign("a buffer of a record batch lies outside of it")
        size_bytes = _INT64.unpack_from(body, offset)[0]
        if size_bytes < -1:
            raise PageForeign(f"a buffer of a record batch has {size_bytes} bytes")
        # -1 marks a buffer that compression made no smaller.
        total += length - _INT64.size if size_bytes == -1 else size_bytes
    return total
