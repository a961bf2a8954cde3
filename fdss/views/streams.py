"""A body of rows that is made while it is sent, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from fdss.errors import FdssError
from fdss.traffic import Traffic
from fdss.wire.body import Chunk
from fdss.wire.names import NDJSON

HEAD_BYTES = 1 << 18
LINE_END = ord("\n")

logger = logging.getLogger(__name__)


class StreamCut(OSError):
    """Rows could not be made after the first were sent; the connection is to be cut.

    The missing end of the body is how the client learns of it. An OSError, because waitress
    closes the connection on one without logging it a second time.
    """


def head_of(chunks: Iterator[Chunk]) -> tuple[list[Chunk], bool]:
    """Return the first chunks, up to 256 KiB and one chunk, and whether they are all there is.

    Whatever goes wrong at the start goes wrong here, while an error can still be answered.
    """
    head: list[Chunk] = []
    while sum(map(len, head)) < HEAD_BYTES:
        chunk = next(chunks, None)
        if chunk is None:
            return head, True
        head.append(chunk)
    return head, False


class RowStream:
    """The chunks of one response.

    Attributes:
        sent_rows: Rows handed over so far; None while an encoding does not show them.
        sent_bytes: Bytes handed over so far.
        outcome: What the access log adds: empty after the last chunk, else why it is not.
        failure: Code of the error that rows could not be made for; empty if they could.
    """

    def __init__(
        self,
        head: list[Chunk],
        chunks: Iterator[Chunk],
        *,
        rows: int,
        media_type: str,
        traffic: Traffic,
    ) -> None:
        """Start with chunks already made, followed by those still to be made.

        Args:
            rows: Rows of the whole response.
            traffic: Where the bytes are counted.
        """
        self.sent_rows: int | None = 0 if media_type == NDJSON else None
        self.sent_bytes = 0
        self.outcome = "client left early"
        self.failure = ""
        self._head = head[::-1]
        self._chunks = chunks
        self._rows = rows
        self._traffic = traffic

    def __iter__(self) -> RowStream:
        return self

    def __next__(self) -> Chunk:
        chunk = self._head.pop() if self._head else self._made()
        self.sent_bytes += len(chunk)
        self._traffic.add(len(chunk))
        if self.sent_rows is not None and isinstance(chunk, bytes):
            # Five times as fast as ``bytes.count``.
            self.sent_rows += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == LINE_END))
        return chunk

    def close(self) -> None:
        """Release what the chunks are made from: at the end, or when the client is gone."""
        closing = getattr(self._chunks, "close", None)
        if closing is not None:
            closing()

    def _made(self) -> Chunk:
        try:
            return next(self._chunks)
        except StopIteration:
            self.outcome = ""
            self.sent_rows = self._rows
            raise
        except Exception as error:
            logger.error("rows failed after %d bytes", self.sent_bytes, exc_info=error)
            self.failure = error.code if isinstance(error, FdssError) else FdssError.code
            self.outcome = f"cut: {self.failure}"
            raise StreamCut(self.outcome) from error
