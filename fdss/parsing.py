"""The head of a request, read within limits and in one way only.

What two parsers may read differently, one of them in front of this server, is refused: such a
request could hide another. The rules are those of RFC 9112, sections 2.2, 3, 5 and 6, without
what it merely tolerates. Rests on private names of waitress 3.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import RequestHeaderFieldsTooLarge

from fdss.errors import FdssError, HeadersTooLarge, UrlTooLong
from fdss.refusals import Refused
from fdss.settings import BY_KEY

#: Request lines have a method and a version besides the URL.
LINE_BYTES = 64

_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([A-Z0-9!#$%&'*+.^_`|~-]{1,32}) ([^\x00-\x20\x7f]+) HTTP/1\.[01]")
#: Headers that mean nothing when they are given twice, or mean two things.
_SINGLE = (
    b"content-length",
    b"content-type",
    b"expect",
    b"host",
    b"origin",
    b"transfer-encoding",
)


@dataclass(frozen=True)
class RequestLimits:
    """How large the head of a request may be.

    Attributes:
        url_bytes: Longest URL.
        headers: Most header lines.
        header_bytes: Largest head, with the request line.
    """

    url_bytes: int = BY_KEY["max_url_bytes"].default
    headers: int = BY_KEY["max_headers"].default
    header_bytes: int = BY_KEY["max_header_bytes"].default


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """A request as it arrives; ``error`` says why it is not taken."""

    # waitress has no annotations of its own.
    completed: bool
    empty: bool
    error: Any

    def __init__(self, adj: Any, limits: RequestLimits) -> None:
        super().__init__(adj)
        self._limits = limits
        self._refusal: FdssError | None = None
        self._head = bytearray()

    @property
    def waits_for_continue(self) -> bool:
        """Return whether the client sends its body once it is told to."""
        return bool(self.expect_continue and self.headers_finished and not self.completed)

    def received(self, data: bytes) -> int:
        """Take bytes and return how many of them belong to this request."""
        if self.completed or self.headers_finished:
            consumed = int(super().received(data))
        elif self._is_unfinished(data):
            return len(data)
        else:
            # waitress copies and searches all of a head each time a byte of it comes.
            before = len(self._head) - len(data)
            head, self._head = bytes(self._head), bytearray()
            consumed = int(super().received(head)) - before
            if isinstance(self.error, RequestHeaderFieldsTooLarge):
                # The line itself is what is too long, if its end is not even in sight.
                is_line = b"\r\n" not in head[: self._limits.url_bytes + LINE_BYTES]
                self._refusal = self._too_long() if is_line else self._too_large()
        if self._refusal is not None:
            self.error = Refused(self._refusal)
            self.completed = True
        return consumed

    def _is_unfinished(self, data: bytes) -> bool:
        """Take bytes of the head; return whether its end, or its limit, is still to come."""
        searched = max(len(self._head) - len(_HEAD_END) + 1, 0)
        self._head += data
        is_ended = self._head.find(_HEAD_END, searched) >= 0
        return not is_ended and len(self._head) < self.adj.max_request_header_size

    def parse_header(self, header_plus: bytes) -> None:
        """Read the request line and the headers.

        Raises:
            ParsingError: They are malformed, or can be read in two ways.
        """
        lines = header_plus.rstrip(b"\r\n").split(b"\r\n")
        line = _REQUEST_LINE.fullmatch(lines[0].rstrip())
        if line is None:
            raise ParsingError("its first line is not METHOD URL HTTP/1.1")
        _check_headers(header_plus, lines[1:])
        if len(line[2]) > self._limits.url_bytes:
            self._refusal = self._too_long()
        elif len(lines) - 1 > self._limits.headers:
            self._refusal = HeadersTooLarge(
                f"The request has more than {self._limits.headers} header lines.",
                hint="send fewer, or start the server with a larger --max-headers",
            )
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # Of a URL with half an address, and of a length of thousands of digits.
            raise ParsingError("its URL or a length is malformed") from error
        if "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("HTTP/1.0 has no Transfer-Encoding")

    def _too_long(self) -> FdssError:
        return UrlTooLong(f"The URL is longer than {self._limits.url_bytes:,} bytes.")

    def _too_large(self) -> FdssError:
        return HeadersTooLarge(
            f"The headers are larger than {self._limits.header_bytes:,} bytes.",
            hint="send smaller ones, or start the server with a larger --max-header-bytes",
        )


def _check_headers(head: bytes, lines: list[bytes]) -> None:
    if b"\r\n " in head or b"\r\n\t" in head:
        raise ParsingError("a header goes on in the next line")
    names = [line.partition(b":")[0].lower() for line in lines]
    if len(set(names)) < len(names):
        for name in _SINGLE:
            if names.count(name) > 1:
                raise ParsingError(f"it has more than one {name.decode().title()}")
    if b"transfer-encoding" not in names:
        return
    if b"content-length" in names:
        raise ParsingError("it has both Content-Length and Transfer-Encoding")
    coding = lines[names.index(b"transfer-encoding")].partition(b":")[2]
    if coding.strip(b" \t").lower() != b"chunked":
        raise ParsingError("its Transfer-Encoding is not chunked")
