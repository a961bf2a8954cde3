"""A response that is written chunk by chunk, and the bytes of it that wait to be sent.

Rests on private names of waitress 3.0 (``tests/server/test_channels.py`` holds them to it).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from waitress.task import WSGITask

from fdss.backend import FilePart
from fdss.wire.body import BROKEN_OFF, SENDS_FILES, Chunk

#: More than a socket takes at once, so that no part is looked up for nothing.
MOST_UNREAD_BYTES = 1 << 23

logger = logging.getLogger(__name__)


class Views:
    """Bytes that wait to be sent, as they were handed over: not copied, not spooled.

    Parts of files wait as what they are, and are read when they are sent.
    """

    def __init__(self) -> None:
        self._parts: deque[memoryview | FilePart] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return self._bytes

    def append(self, data: Chunk) -> None:
        """Add bytes at the end."""
        part = memoryview(data).cast("B") if isinstance(data, bytes | memoryview) else data
        self._parts.append(part)
        self._bytes += len(part)

    @property
    def file(self) -> FilePart | None:
        """Return the part of a file that is at the front, if one is."""
        head = self._parts[0]
        return None if isinstance(head, memoryview) else head

    def first(self, count: int) -> list[memoryview]:
        """Return up to ``count`` buffers from the front, one at least.

        A part of a file that is at the front is read, a quarter of a mebibyte of it.

        Raises:
            ContentChanged: It is not there as it was.
        """
        head = self.file
        if head is not None:
            piece = head.first()
            self._parts[0] = piece
            if len(piece) < len(head):
                self._parts.insert(1, head.after(len(piece)))
        views = []
        for part in islice(self._parts, count):
            if not isinstance(part, memoryview):
                break
            views.append(part)
        return views

    def unread(self, count: int) -> list[memoryview]:
        """Return up to ``count`` buffers from the front, one at least, for a system call alone.

        Raises:
            ContentChanged: A part of a file is not there as it was.
        """
        views: list[memoryview] = []
        size_bytes = 0
        for part in islice(self._parts, count):
            view = part if isinstance(part, memoryview) else part.mapped()
            if view is None or size_bytes > MOST_UNREAD_BYTES:
                break
            views.append(view)
            size_bytes += len(view)
        return views or self.first(count)

    def skip(self, sent_bytes: int) -> None:
        """Remove bytes from the front."""
        self._bytes -= sent_bytes
        while sent_bytes:
            head = self._parts[0]
            if sent_bytes < len(head):
                if isinstance(head, memoryview):
                    self._parts[0] = head[sent_bytes:]
                else:
                    self._parts[0] = head.after(sent_bytes)
                return
            sent_bytes -= len(head)
            self._parts.popleft()

    def close(self) -> None:
        """Forget what is left."""
        self._parts.clear()
        self._bytes = 0


class StreamTask(WSGITask):  # type: ignore[misc]
    """A response that is written chunk by chunk, on a connection that lives on."""

    # waitress has no annotations of its own.
    content_length: int | None
    content_bytes_written: int
    chunked_response: bool
    wrote_header: bool

    def __init__(self, channel: Any, request: Any) -> None:
        super().__init__(channel, request)
        self._app_iter: Iterable[Chunk] | None = None
        self._environment: dict[str, Any] = {}
        self._chunks: Iterator[Chunk] = iter(())

    def begin(self) -> None:
        """Call the application; its response's head is written with the first chunk."""
        self.start()
        self._environment = {**self.get_environment(), SENDS_FILES: True}
        app_iter = self.channel.server.application(self._environment, self._start_response)
        self._app_iter = app_iter
        if self.content_length is None and isinstance(app_iter, list) and len(app_iter) == 1:
            self.content_length = len(app_iter[0])
        self._chunks = iter(app_iter)

    def advance(self) -> int | None:
        """Write one chunk and return its size in bytes; None after the last."""
        for chunk in self._chunks:
            if chunk:
                self.write(chunk)
            return len(chunk)
        expected = 0 if self._is_head or not self.has_body else self.content_length or 0
        if self.content_bytes_written < expected:
            logger.error("a response ended before its Content-Length")
            self.set_close_on_finish()
        self.finish()
        return None

    def note_failure(self, code: str) -> None:
        """Tell the application, before it is told the end, which error broke its body off."""
        self._environment[BROKEN_OFF] = code

    def close(self) -> None:
        """Tell the application that its response is over, finished or not."""
        app_iter, self._app_iter = self._app_iter, None
        close = getattr(app_iter, "close", None)
        if close is not None:
            close()

    def write(self, data: Chunk) -> None:
        """Write a chunk of the body, and the head before the first."""
        if not self.wrote_header:
            self.channel.write_soon(self.build_response_header())
            self.wrote_header = True
        if not data or not self.has_body or self._is_head:
            return
        self.content_bytes_written += len(data)
        if not self.chunked_response:
            self.channel.write_soon(data)
            return
        for part in (b"%X\r\n" % len(data), data, b"\r\n"):
            self.channel.write_soon(part)

    def finish(self) -> None:
        """Write the end of a chunked body, or the head where there was no chunk."""
        if not self.wrote_header:
            self.write(b"")
        if self.chunked_response and not self._is_head:
            self.channel.write_soon(b"0\r\n\r\n")

    def set_close_on_finish(self) -> None:
        """Close the connection afterwards, but not merely because a body is chunked."""
        asked = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.chunked_response and not self.wrote_header and not asked:
            return
        super().set_close_on_finish()

    @property
    def _is_head(self) -> bool:
        return bool(self.request.command == "HEAD")

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> None:
        if self.wrote_header and exc_info:
            raise exc_info[1]
        self.complete = True
        self.status = status
        self.response_headers = list(headers)
        for name, value in headers:
            if name.lower() == "content-length":
                self.content_length = int(value)
