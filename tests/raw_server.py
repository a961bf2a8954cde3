"""A server that answers with exactly the bytes a test gives it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

NDJSON = "application/x-ndjson"
FINGERPRINT = "f" * 64


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """Return the path without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Return the query's parameters."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass
class RawServer:
    """A listening socket whose answers are a function of the request and the open connection."""

    url: str
    answer: Answer
    context: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def accept_all(self, listener: socket.socket) -> None:
        """Serve every connection in a thread of its own until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self.context is None:
                self._answer_all(connection)
            else:
                with self.context.wrap_socket(connection, server_side=True) as secure:
                    self.connections.append(secure)
                    self._answer_all(secure)
        self.left.release()

    def _answer_all(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            while request := _read_request(reader):
                self.requests.append(request)
                self.answer(request, connection)


def _read_request(reader: Any) -> Request | None:
    words = reader.readline().decode("latin-1").split()
    if len(words) != 3 or not words[0].isalpha():
        # What a client sends that looks whether TLS is spoken here is no request.
        return None
    headers = {}
    while line := reader.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    reader.read(int(headers.get("content-length", 0)))
    return Request(words[0], words[1], headers)


Answer = Callable[[Request, socket.socket], None]


class StartServer(Protocol):
    """Starts a server with an answering function; with a context it speaks TLS."""

    def __call__(self, answer: Answer, context: ssl.SSLContext | None = None) -> RawServer:
        """Return the server, listening."""


@contextlib.contextmanager
def raw_servers() -> Iterator[StartServer]:
    """Give a call that starts a server with an answering function; all stop at the end."""
    started: list[tuple[RawServer, socket.socket]] = []

    def start(answer: Answer, context: ssl.SSLContext | None = None) -> RawServer:
        listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if context is None else "https"
        server = RawServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", answer, context)
        threading.Thread(target=server.accept_all, args=(listener,), daemon=True).start()
        started.append((server, listener))
        return server

    try:
        yield start
    finally:
        for server, listener in started:
            server.stopping.set()
            for used in (listener, *server.connections):
                with contextlib.suppress(OSError):
                    used.shutdown(socket.SHUT_RDWR)
            listener.close()


def response(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
    length: int | None = -1,
) -> bytes:
    """Return a response; ``length`` -1 tells the body's own, None tells none and is chunked."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def row_lines(begin: int, end: int) -> bytes:
    """Return the lines of rows ``{"n": begin}`` to ``{"n": end - 1}``."""
    return b"".join(b'{"n":%d}\n' % number for number in range(begin, end))


def page_headers(request: Request, *, length: int) -> dict[str, str]:
    """Return the headers that fit a request for a page of a dataset of ``length`` rows."""
    return {
        "FDSS-Rows": request.query["limit"],
        "FDSS-Position": request.query["position"],
        "FDSS-Length": str(length),
        "FDSS-Order": "v1",
        "FDSS-Types": "tagged",
        "ETag": f'"{FINGERPRINT}"',
    }


def answer_pages(length: int, *, most_rows: int | None = None, behind: bytes = b"") -> Answer:
    """Return the answers of a server with the rows ``{"n": 0}`` to ``{"n": length - 1}``.

    Args:
        most_rows: Rows after which a page stops coming, its connection still open.
        behind: What follows every page at once.
    """

    def answer(request: Request, connection: socket.socket) -> None:
        if not request.path.endswith("/iter"):
            connection.sendall(response(description(length)))
            return
        begin, count = int(request.query["position"]), int(request.query["limit"])
        headers = page_headers(request, length=length)
        sent = count if most_rows is None else min(count, most_rows)
        body = chunk(row_lines(begin, begin + sent)) + (b"0\r\n\r\n" if sent == count else b"")
        body += behind
        connection.sendall(response(body, content_type=NDJSON, headers=headers, length=None))

    return answer


def description(length: int, **changes: Any) -> bytes:
    """Return the JSON a server tells about a handle."""
    told = {
        "handle": "abcd",
        "length": length,
        "source": "local",
        "load_args": {"path": "local/x"},
        "column_names": ["n"],
        "fingerprint": FINGERPRINT,
        "features": {"n": {"dtype": "int64", "_type": "Value"}},
    }
    return json.dumps({**told, **changes}).encode()
