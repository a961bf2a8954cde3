"""The rows of a page, as its body arrives."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import requests

from fdss.backend import Chunk, Row
from fdss.errors import AnswerTooLarge, PageCut, PageError, PageForeign
from fdss.rows import BatchChunk, RowMaker
from fdss.wire import names
from fdss.wire.arrow import decode_batches
from fdss.wire.ndjson import RowsChunk, decode_lines
from fdss.wire.plain import BYTES_TAG

from .arena import Arena
from .framing import CheckedMessages
from .limits import ClientLimits
from .pages import Page, foreign
from .tallies import Tally
from .watching import watch_of

READ_BYTES = 256 * 1024


@dataclass(frozen=True)
class Memory:
    """Where pages arrive, how much of them may, and who is told how much did."""

    arena: Arena
    limits: ClientLimits
    tally: Tally


def page_chunks(
    response: requests.Response, page: Page, types: str, maker: RowMaker, memory: Memory
) -> Iterator[tuple[Chunk, int]]:
    """Yield the rows of a page as they arrive, 1 or more at a time, with their size in bytes.

    Args:
        types: How values are typed, as ``checked_types`` told.

    Raises:
        PageCut: Fewer rows came than were asked for; those that came were yielded.
        PageForeign: More rows came, or something that is not a row.
        AnswerTooLarge: Something came that is beyond the limits.
    """
    watch = watch_of(response, memory.limits)
    stream = _Stream(response, memory.arena)
    parts = (
        _batches(stream, maker, memory.limits, page.rows)
        if types == names.ARROW_TYPES
        else _lines(stream, types, maker, memory.limits)
    )
    came = 0
    reason: Exception | None = None
    try:
        for chunk, size_bytes in parts:
            if came + len(chunk) > page.rows:
                raise foreign(response, f"more than {page.rows} rows", f"{page.rows}")
            came += len(chunk)
            watch.progress()
            yield chunk, size_bytes
    except AnswerTooLarge as exc:
        error = AnswerTooLarge(
            f"Row {came} of the page at {response.url} is too large: {exc.message}", hint=exc.hint
        )
        error.rows = exc.rows
        raise error from exc
    except PageForeign as exc:
        raise PageForeign(
            f"Row {came} of the page at {response.url} cannot be read: {exc.message}"
        ) from exc
    except (requests.RequestException, PageCut) as exc:
        # All rows are here: that the end of the body is missing changes nothing.
        reason = exc
    finally:
        memory.tally.receive(stream.received_bytes)
    if came < page.rows:
        raise PageCut(
            f"The page of {page.rows} rows at {response.url} was cut after {came}:"
            f" {reason or 'the answer ended there'}."
        ) from reason


def _batches(
    stream: _Stream, maker: RowMaker, limits: ClientLimits, rows: int
) -> Iterator[tuple[Chunk, int]]:
    before = 0
    for batch in decode_batches(CheckedMessages(stream, limits, rows)):
        came, before = stream.received_bytes - before, stream.received_bytes
        if batch.num_rows:
            # Of small batches most of what comes says where their values are.
            yield BatchChunk(maker.checked(batch), maker), max(came, batch.nbytes)
    stream.end()


class _Stream:
    """The bytes of a response's body, received where Arrow is to find them.

    They are read below urllib3, which would copy them once or twice more, and keep back those
    before a cut. What it checks besides is checked here: whoever asks for more bytes than come
    finds the body cut.

    Attributes:
        received_bytes: Bytes that were read.
    """

    def __init__(self, response: requests.Response, arena: Arena) -> None:
        self._raw: Any = response.raw
        self._body: Any = response.raw._fp
        self._arena = arena
        self.received_bytes = 0

    def read(self, count: int) -> memoryview:
        """Return ``count`` bytes; fewer at the end of the body."""
        region = self._arena.take(count)
        content = region.content
        filled = 0
        try:
            while filled < count and (received := self._body.readinto(content[filled:count])):
                filled += received
        except (HTTPException, OSError) as exc:
            raise PageCut(f"the connection broke: {exc}") from exc
        self.received_bytes += filled
        return memoryview(region.filled(filled))

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the bytes up to the end of the body as they come; 1 to ``most_bytes`` at a time."""
        try:
            while piece := self._body.read1(most_bytes):
                self.received_bytes += len(piece)
                yield piece
        except (HTTPException, OSError) as exc:
            raise PageCut(f"the connection broke: {exc}") from exc

    def end(self) -> None:
        """Free the connection for the next page, if nothing is left in it of this one.

        ``drain_conn`` would close it: it counts the bytes that urllib3 itself has read.
        """
        if not self.read(1) and self._body.isclosed():
            self._raw.release_conn()


def _lines(
    stream: _Stream, dialect: str, maker: RowMaker, limits: ClientLimits
) -> Iterator[tuple[Chunk, int]]:
    for lines in _whole_lines(stream, limits):
        rows, fault = decoded_lines(lines.split(b"\n")[:-1], dialect)
        if dialect == names.TAGGED and (fitting := maker.fitting(rows)) < len(rows):
            fault = PageForeign(f"Its columns are {str(list(rows[fitting]))[:200]}.")
            rows = rows[:fitting]
        if rows:
            yield RowsChunk(rows, maker), len(lines)
        if fault is not None:
            raise fault


def _whole_lines(stream: _Stream, limits: ClientLimits) -> Iterator[bytes]:
    held: list[bytes] = []
    held_bytes = 0
    for block in stream.pieces(READ_BYTES):
        end = block.rfind(b"\n") + 1
        first_end = block.find(b"\n") if end else len(block)
        line_bytes = held_bytes + first_end
        if line_bytes > limits.row_bytes:
            raise limits.too_large("row_bytes", f"a line has {line_bytes:,} bytes and more")
        if not end:
            held.append(block)
            held_bytes = line_bytes
            continue
        yield b"".join((*held, block[:end]))
        held = [block[end:]] if end < len(block) else []
        held_bytes = len(block) - end
    if held:
        raise PageCut("its last line has no end")
    stream.end()


def decoded_lines(lines: list[bytes], dialect: str) -> tuple[list[Row], PageError | None]:
    """Return the rows of whole lines; up to the line at fault, and the fault, if there is one."""
    decode = decode_lines if dialect == names.TAGGED else _old_rows
    with contextlib.suppress(PageError):
        return decode(lines), None
    rows: list[Row] = []
    for line in lines:
        try:
            rows += decode([line])
        except PageError as fault:
            return rows, fault
    return rows, None


def _old_rows(lines: Sequence[bytes]) -> list[Row]:
    """Return the rows of lines that may hold NaN and Infinity, as JSON of old servers does."""
    try:
        rows = [json.loads(line, object_hook=_unpacked) for line in lines]
    except ValueError as exc:
        raise PageCut(f"A line of rows is not whole JSON: {exc}.") from exc
    except RecursionError as exc:
        raise PageForeign("A line of rows is nested too deeply.") from exc
    if all(isinstance(row, dict) for row in rows):
        return rows
    raise PageForeign("A line of rows holds something else than one JSON object.")


def _unpacked(value: dict[str, Any]) -> Any:
    packed = value.get(BYTES_TAG)
    if len(value) == 1 and isinstance(packed, str):
        with contextlib.suppress(ValueError):
            return base64.b64decode(packed, validate=True)
    return value
