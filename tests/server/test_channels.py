"""What the server rests on in waitress: responses that take turns, and clients of every kind."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from fdss.channels import HIGH_WATER_BYTES, StreamChannel
from fdss.listener import Limits, Listener
from fdss.listening import bind

ROWS_PATH = "/v1/datasets/x/iter"
CHUNK = bytes(range(256)) * 256
CHUNKS = 512
BODY_BYTES = len(CHUNK) * CHUNKS
TIMEOUT_S = 60.0

POST_BEGUN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"

App = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Body:
    """A long body that counts what was asked of it and says when it was closed."""

    def __init__(self, chunks: int = CHUNKS, fails_after: int | None = None) -> None:
        self.made = 0
        self.closed = threading.Event()
        self._chunks = chunks
        self._fails_after = fails_after

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._chunks):
            if self.made == self._fails_after:
                raise RuntimeError("the body failed")
            self.made += 1
            yield CHUNK

    def close(self) -> None:
        self.closed.set()


class Application:
    """Answers the path of rows with long bodies, every other path with two bytes."""

    def __init__(self, make: Callable[[], Body] = Body) -> None:
        self.bodies: list[Body] = []
        self._make = make
        self.began = threading.Condition()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != ROWS_PATH:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        body = self._make()
        with self.began:
            self.bodies.append(body)
            self.began.notify_all()
        return body

    def wait_for(self, count: int) -> list[Body]:
        with self.began:
            assert self.began.wait_for(lambda: len(self.bodies) >= count, TIMEOUT_S)
            return list(self.bodies)


@contextmanager
def listening(
    app: App, *, kind: type[Listener] = Listener, **limits: Any
) -> Generator[int, None, None]:
    """Serve an application on a free port."""
    bound = bind("127.0.0.1", 0)
    port: int = bound.getsockname()[1]
    given = {"row_threads": 2, "max_body_bytes": 1 << 20, "connections": 900, **limits}
    listener = kind(app, bound, Limits(**given))
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            listener.asyncore.loop(timeout=1, use_poll=True, map=listener._map, count=1)
        for channel in list(listener.active_channels.values()):
            channel.handle_close()
        listener.asyncore.close_all(listener._map)
        listener.task_dispatcher.shutdown()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port
    finally:
        stopping.set()
        listener.trigger.pull_trigger()
        thread.join()


def ask(port: int, path: str = ROWS_PATH, receive_bytes: int | None = None) -> socket.socket:
    """Return a connection on which a request was sent."""
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(TIMEOUT_S)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def answer(client: socket.socket) -> bytes:
    """Return the whole body of the answer on a connection."""
    response = HTTPResponse(client)
    response.begin()
    return response.read()


def test_a_connection_outlives_chunked_bodies() -> None:
    """One connection carries many chunked responses."""
    with listening(Application(lambda: Body(3))) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.connect()
        first = connection.sock
        for _ in range(20):
            connection.request("GET", ROWS_PATH)
            response = connection.getresponse()

            assert response.getheader("Transfer-Encoding") == "chunked"
            assert response.read() == CHUNK * 3
            assert connection.sock is first
        connection.close()


def test_a_connection_closes_when_it_is_asked_to() -> None:
    """A client that says ``Connection: close`` is believed."""
    with listening(Application(lambda: Body(1))) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.request("GET", ROWS_PATH, headers={"Connection": "close"})
        response = connection.getresponse()

        assert response.read() == CHUNK
        assert response.will_close
        connection.close()


def test_an_old_client_gets_its_body_unchunked() -> None:
    """An HTTP/1.0 client gets the bare body and the end of the connection."""
    with listening(Application(lambda: Body(2))) as port:
        client = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        client.sendall(f"GET {ROWS_PATH} HTTP/1.0\r\n\r\n".encode())
        with client, client.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")

        assert b"chunked" not in head.lower()
        assert body == CHUNK * 2


def test_head_has_no_body() -> None:
    """A HEAD request gets the head alone, and the connection lives on."""
    with listening(Application()) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        for _ in range(2):
            connection.request("HEAD", "/other")
            response = connection.getresponse()

            assert (response.getheader("Content-Length"), response.read()) == ("2", b"")
        connection.close()


def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent together are answered one after another."""
    with listening(Application(lambda: Body(2))) as port:
        client = ask(port)
        client.sendall(b"GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with client, client.makefile("rb") as stream:
            everything = stream.read()

    assert everything.count(b"200 OK") == 2
    assert everything.endswith(b"ok")


class Lingering:
    """A lock after which a thread gives the main loop the time to take in the next request."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.arrived = threading.Event()
        self._lock = threading.Lock()
        self._wake = wake

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()
        if threading.current_thread().name.startswith("waitress"):
            self._wake()
            self.arrived.wait(0.1)


def test_a_request_that_follows_at_once_gets_one_turn(caplog: pytest.LogCaptureFixture) -> None:
    """However early the next request arrives, it is given to one thread, and once."""
    turns: list[bool] = []
    ended = threading.Semaphore(0)

    class Watched(StreamChannel):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.requests_lock = Lingering(self.server.pull_trigger)

        def received(self, data: bytes) -> bool:
            taken = bool(super().received(data))
            self.requests_lock.arrived.set()
            return taken

        def service(self) -> None:
            self.requests_lock.arrived.clear()
            turns.append(self._turn)
            super().service()
            ended.release()

    class WatchedListener(Listener):
        channel_class = Watched

    with listening(Application(), kind=WatchedListener) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        for _ in range(5):
            connection.request("GET", "/other")
            assert connection.getresponse().read() == b"ok"
        assert all(ended.acquire(timeout=TIMEOUT_S) for _ in range(5))
        connection.close()

    assert turns == [False] * 5
    assert caplog.records == []


def test_nonsense_is_answered() -> None:
    """A request that is none gets 400."""
    with listening(Application()) as port:
        client = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        client.sendall(b"what is this\r\n\r\n")
        with client, client.makefile("rb") as stream:
            assert stream.read().startswith(b"HTTP/1.0 400")


def test_a_connection_that_is_closed_meanwhile_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When the main loop closes a connection in the middle of a turn, its response just ends."""

    class Closed(StreamChannel):
        """A channel that is closed right after the thread has looked whether it is open."""

        def write_soon(self, data: Any) -> int:
            if self.server.application.bodies[0].made != 3:
                return super().write_soon(data)
            self.handle_close()
            self.connected = True
            try:
                return super().write_soon(data)
            finally:
                self.connected = False

    class Closing(Listener):
        channel_class = Closed

    application = Application()
    with listening(application, kind=Closing) as port, ask(port) as client:
        [body] = application.wait_for(1)
        assert body.closed.wait(TIMEOUT_S)
        while client.recv(1 << 20):
            continue
    assert caplog.records == []
    assert body.made == 3


def test_a_body_that_fails_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A failure in the middle of a body ends the connection without the end of the body."""
    app = Application(lambda: Body(fails_after=3))
    with listening(app) as port, ask(port) as client, client.makefile("rb") as stream:
        everything = stream.read()
        body = app.wait_for(1)[0]

        assert body.closed.wait(TIMEOUT_S)
    assert not everything.endswith(b"0\r\n\r\n")
    assert "the body failed" in caplog.text


def test_a_client_that_leaves_ends_its_body() -> None:
    """The application hears of a client that left, also while the response waits for it."""
    app = Application()
    with listening(app) as port:
        client = ask(port, receive_bytes=4096)
        body = app.wait_for(1)[0]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

        assert body.closed.wait(TIMEOUT_S)
        assert body.made < CHUNKS


def test_clients_that_do_not_read_cost_no_thread_and_little_memory() -> None:
    """With more silent clients than threads, others are served, and the silent ones not robbed."""
    app = Application()
    with listening(app) as port, ExitStack() as closing:
        silent = [closing.enter_context(ask(port, receive_bytes=4096)) for _ in range(24)]
        app.wait_for(24)

        assert answer(closing.enter_context(ask(port, "/v1/health"))) == b"ok"
        assert len(answer(closing.enter_context(ask(port)))) == BODY_BYTES
        made_bytes = [body.made * len(CHUNK) for body in app.bodies[:24]]
        # What is pending, and what the two kernel buffers of a loopback connection hold.
        assert max(made_bytes) < HIGH_WATER_BYTES + len(CHUNK) + (8 << 20)
        assert answer(silent[0]) == CHUNK * CHUNKS
        assert answer(silent[-1]) == CHUNK * CHUNKS


def test_streams_share_the_threads() -> None:
    """More streams than threads all go on at once: none waits for another's end."""
    app = Application(lambda: Body(4096))
    with listening(app, row_threads=1) as port, ExitStack() as closing:
        clients = [closing.enter_context(ask(port)) for _ in range(6)]
        for client in clients:
            # More than two kernel buffers: it was sent in several turns.
            remaining = 16 << 20
            while remaining > 0:
                remaining -= len(client.recv(1 << 16))

        assert not any(body.closed.is_set() for body in app.wait_for(6))


def test_a_client_without_progress_is_closed() -> None:
    """A client that is owed bytes and takes none is closed after a while."""
    app = Application()

    class Hasty(Listener):
        def readable(self) -> bool:
            self.next_channel_cleanup = 0
            return bool(super().readable())

    with listening(app, kind=Hasty, stall_s=0.2) as port, ask(port, receive_bytes=4096):
        body = app.wait_for(1)[0]

        assert body.closed.wait(TIMEOUT_S)
        assert body.made < CHUNKS


@pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nHost: ", POST_BEGUN], ids=["head", "body"])
def test_a_request_that_does_not_end_is_closed(begun: bytes) -> None:
    """A client that sends a request byte by byte, and never the last, is closed after a while."""
    with (
        listening(Application(), request_s=0.3) as port,
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client,
    ):
        client.sendall(begun)
        client.settimeout(0.05)
        for _ in range(1000):
            try:
                client.sendall(b"x")
                assert client.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is still open")


def test_a_client_that_speaks_tls_is_closed_at_once() -> None:
    """A TLS hello is no beginning of a request that somebody should wait for."""
    with (
        listening(Application()) as port,
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client,
    ):
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

        assert client.recv(1) == b""


def test_a_connection_without_a_request_is_closed() -> None:
    """A client that asks for nothing is closed after a while; one that is owed bytes is not."""
    app = Application()
    with listening(app, idle_s=2) as port, ask(port, receive_bytes=4096) as slow:
        body = app.wait_for(1)[0]
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as idle:
            assert idle.recv(1) == b""
        with ask(port, "/other") as used:
            assert answer(used) == b"ok"
            assert used.recv(1) == b""

        assert not body.closed.is_set()
        assert len(answer(slow)) == BODY_BYTES


def test_a_client_too_many_is_told_so() -> None:
    """Above the limit of connections the answer is 503 and the end; below it, all is well again."""
    with listening(Application(), connections=3) as port, ExitStack() as closing:
        connected = [HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S) for _ in range(3)]
        for connection in connected:
            connection.request("GET", "/other")
            assert connection.getresponse().read() == b"ok"
        client = closing.enter_context(ask(port, "/other"))
        with client.makefile("rb") as stream:
            refusal = stream.read()
        connected[0].close()
        again = ask_until_served(port)
        for connection in connected:
            connection.close()

    assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert again == b"ok"


def ask_until_served(port: int) -> bytes:
    """Return the first answer that is no refusal."""
    while True:
        with ask(port, "/other") as client:
            response = HTTPResponse(client)
            response.begin()
            if response.status != 503:
                return response.read()


def test_as_many_silent_clients_as_a_cluster_has_cost_little() -> None:
    """With 256 clients that do not read others are served, and little is pending for each."""
    app, listeners = Application(), []

    class Known(Listener):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            listeners.append(self)

    with listening(app, kind=Known, row_threads=4) as port, ExitStack() as closing:
        for _ in range(256):
            closing.enter_context(ask(port, receive_bytes=4096))
        app.wait_for(256)
        for path, body_bytes in (("/v1/health", 2), ("/v1/load", 2), (ROWS_PATH, BODY_BYTES)):
            with ask(port, path) as client:
                assert len(answer(client)) == body_bytes
        pending = [one.total_outbufs_len for one in listeners[0].active_channels.values()]

    assert len(pending) >= 256
    assert max(pending) < HIGH_WATER_BYTES + len(CHUNK) + 100


def test_the_main_loop_does_not_spin() -> None:
    """The main loop is woken for a slow reader a few times a buffer, not all the time."""
    writes = 0

    class Counting(StreamChannel):
        def handle_write(self) -> None:
            nonlocal writes
            writes += 1
            super().handle_write()

    class CountingListener(Listener):
        channel_class = Counting

    with listening(Application(), kind=CountingListener) as port, ask(port) as client:
        assert len(answer(client)) == BODY_BYTES
    assert writes < BODY_BYTES / (64 << 10)


def test_clients_that_vanish_before_they_are_accepted() -> None:
    """Connections that are reset at once do not close the listening socket."""
    with listening(Application()) as port:
        for _ in range(50):
            client = ask(port, "/v1/health")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        with ask(port, "/v1/health") as client:
            assert answer(client) == b"ok"


@pytest.mark.only_on("linux")
def test_descriptors_above_1023_are_served() -> None:
    """A process with more than 1,024 open files goes on serving."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"the limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with listening(Application(lambda: Body(2))) as port, ask(port) as client:
            assert client.fileno() > 1023
            assert answer(client) == CHUNK * 2
    finally:
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="counts threads of waitress by name")
def test_threads_end_with_the_server() -> None:
    """A server that stopped leaves no thread behind, whatever its clients were doing."""
    before = set(threading.enumerate())
    app = Application()
    with ExitStack() as closing, listening(app) as port:
        for _ in range(4):
            closing.enter_context(ask(port, receive_bytes=4096))
        bodies = app.wait_for(4)
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_S)

    assert set(threading.enumerate()) <= before
    assert all(body.closed.is_set() for body in bodies)
