"""Rows as an Arrow IPC stream: the stored bytes themselves where that can be.

A body is a schema message, record batch messages, and the end-of-stream marker. Stored batches
that are wanted whole go out as the bytes that stand in the file; the others are sliced or
gathered and written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from fdss.backend import BatchSource, FilePart, Selection
from fdss.errors import PageCut, PageError, PageForeign

from . import names
from .body import Body, Chunk

COMPRESSIONS = ("lz4", "zstd")
# Zstandard's own default, where Arrow's is 1: a tenth more rows over a slow link for 7 s of the
# server's CPU a GB of rows instead of 4 s. Level 6 costs 17 s and brings 4 % more.
ZSTD_LEVEL = 3

# More pieces than a page has; what is longer is a stream without a known size.
_MOST_LISTED = 4096
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


@dataclass(frozen=True)
class ArrowEncoding:
    """An Arrow IPC stream.

    Attributes:
        compression: Of the buffers of every batch: "lz4", "zstd" or None.
    """

    compression: str | None = None

    @property
    def media_type(self) -> str:
        """Return the Content-Type of the response."""
        return names.ARROW

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that says that types are Arrow's."""
        return {names.TYPES_HEADER: names.ARROW_TYPES}

    def encode(self, source: BatchSource, selection: Selection) -> Body:
        """Return the body, a message or several whole stored ones a chunk.

        Where rows cost nothing before they are sent, the size is known.
        """
        schema = source.schema
        if selection.columns is not None:
            fields = [schema.field(name) for name in selection.columns]
            schema = pa.schema(fields, schema.metadata)
        head = schema.serialize()
        if self.compression is not None:
            return Body(_framed(head, source.batches(selection), self._compressor(schema, head)))
        projected = selection.columns is not None
        pieces = source.batches(selection) if projected else source.pieces(selection)
        if not source.costs_nothing(selection):
            return Body(_framed(head, pieces, _serialized))
        listed = list(islice(pieces, _MOST_LISTED))
        is_whole = len(listed) < _MOST_LISTED
        return Body(
            _framed(head, chain(listed, pieces), _serialized),
            head.size + sum(map(_size, listed)) + len(_END) if is_whole else None,
        )

    def _compressor(
        self, schema: pa.Schema, head: pa.Buffer
    ) -> Callable[[pa.RecordBatch], pa.Buffer]:
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        options = pa.ipc.IpcWriteOptions(
            compression=codec if self.compression == "zstd" else self.compression
        )

        def message(batch: pa.RecordBatch) -> pa.Buffer:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, schema, options=options) as writer:
                writer.write_batch(batch)
            stream = sink.getvalue()
            return stream.slice(head.size, stream.size - head.size - len(_END))

        return message


def decode_batches(stream: Any) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of a body as it arrives.

    Args:
        stream: A binary file: ``read(count)`` returns ``count`` bytes, and fewer at its end.

    Raises:
        PageCut: The stream ends in the middle.
        PageForeign: It is no Arrow stream.
    """
    body = _Body(stream)
    try:
        with pa.ipc.open_stream(pa.PythonFile(body, mode="r")) as reader:
            yield from reader
    except PageError:
        raise
    except (pa.ArrowException, OSError) as exc:
        if body.ended:
            raise PageCut(f"the Arrow stream ends in the middle: {exc}") from exc
        raise PageForeign(f"the body is no Arrow stream: {exc}") from exc


class _Body:
    """A stream that remembers whether its end was reached."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.ended = False

    def read(self, count: int) -> bytes | memoryview:
        """Return ``count`` bytes, and fewer at the end."""
        data: bytes | memoryview = self._stream.read(count)
        self.ended |= len(data) < count
        return data

    def close(self) -> None:
        """Leave the stream to whoever opened it."""


def _framed(
    head: pa.Buffer,
    pieces: Iterable[FilePart | pa.RecordBatch],
    message: Callable[[pa.RecordBatch], pa.Buffer],
) -> Iterator[Chunk]:
    yield memoryview(head)
    for piece in pieces:
        yield memoryview(message(piece)) if isinstance(piece, pa.RecordBatch) else piece
    yield _END


def _size(piece: FilePart | pa.RecordBatch) -> int:
    is_batch = isinstance(piece, pa.RecordBatch)
    return int(pa.ipc.get_record_batch_size(piece)) if is_batch else len(piece)


def _serialized(batch: pa.RecordBatch) -> pa.Buffer:
    return batch.serialize()
