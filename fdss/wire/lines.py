"""How rows are written as NDJSON: many rows a chunk, few enough to leave early."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa

from fdss.backend import BatchSource, Selection

from . import names
from .body import Body
from .ndjson import BatchEncoder

# Several rows a write keep the server's loop quiet; small writes keep memory and first bytes low.
MIN_CHUNK_BYTES = 64 << 10
AIM_CHUNK_BYTES = 256 << 10
MAX_CHUNK_BYTES = 1 << 20
_FIRST_ROWS = 32


class NdjsonEncoding:
    """One line of strict JSON a row."""

    media_type = names.NDJSON

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that names the dialect."""
        return {names.TYPES_HEADER: self._dialect}

    def encode(self, source: BatchSource, selection: Selection) -> Body:
        """Return the body, 64 KiB to 1 MiB a chunk but for the last one."""
        encoder = BatchEncoder(_projected(source.schema, selection.columns), self._dialect)
        return Body(_joined(_pieces(encoder, source.batches(selection))))


def _projected(schema: pa.Schema, columns: tuple[str, ...] | None) -> pa.Schema:
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _pieces(encoder: BatchEncoder, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the lines of a few rows at a time, however large a stored batch is."""
    rows = _FIRST_ROWS
    for batch in _merged(batches):
        at = 0
        while at < batch.num_rows:
            # Even parts: a short rest costs almost as much as a whole one.
            rest = batch.num_rows - at
            part = _bounded(batch.slice(at, math.ceil(rest / max(1, round(rest / rows)))))
            at += part.num_rows
            lines = encoder.encode(part)
            yield lines
            fitting = AIM_CHUNK_BYTES * part.num_rows // len(lines)
            rows = max(1, min(2 * rows, fitting))


def _merged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches as they come, but small ones together: a batch costs as much as some rows."""
    small: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        is_small = batch.num_rows < _FIRST_ROWS and _held_bytes(batch) < MIN_CHUNK_BYTES
        if is_small:
            small.append(batch)
            rows += batch.num_rows
        if small and (rows >= _FIRST_ROWS or not is_small):
            yield pa.concat_batches(small)
            small, rows = [], 0
        if not is_small:
            yield batch
    if small:
        yield pa.concat_batches(small)


def _bounded(part: pa.RecordBatch) -> pa.RecordBatch:
    """Return the first rows of a part, so few that long rows among short ones fit too."""
    held = _held_bytes(part)
    while part.num_rows > 1 and held > MAX_CHUNK_BYTES:
        half = part.slice(0, part.num_rows // 2)
        # Buffers that all rows share (dictionaries, views) do not get smaller.
        if _held_bytes(half) > 0.9 * held:
            break
        part, held = half, _held_bytes(half)
    return part


def _held_bytes(part: pa.RecordBatch) -> int:
    try:
        return int(part.nbytes)
    except pa.ArrowTypeError:
        # Older versions of pyarrow cannot tell for views; the rows before them still bound it.
        return 0


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in chunks of 64 KiB to 1 MiB, the last one shorter."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= MIN_CHUNK_BYTES:
            yield from _cut(b"".join(waiting))
            waiting, size = [], 0
    if waiting:
        yield from _cut(b"".join(waiting))


def _cut(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), MAX_CHUNK_BYTES):
        yield data[at : at + MAX_CHUNK_BYTES]
