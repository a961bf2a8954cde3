"""Connections under TLS: what arrives is what a plain server sends, and no client stops it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from certified import Certified

from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.policy import Grant
from fdss.secure_channel import WRITE_BYTES
from fdss.serving import Server
from fdss.tls.context import Certificates
from fdss.wire.names import ARROW, NDJSON

Maker = Callable[..., Any]

HANDLE = LoadArguments("local/rows").handle
ROWS_PATH = f"/v1/datasets/{HANDLE}/iter"
TIMEOUT_S = 60
AUTHORIZED = {"Authorization": "Bearer test-token"}
TOKEN = b"Authorization: Bearer test-token\r\n"
LAST = b"Connection: close\r\n"
#: The first record of a handshake, complete but for its end.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Return an authority with a folder for what it signs."""
    folder = tmp_path / "certified"
    folder.mkdir()
    return Certified(folder)


@contextmanager
def _serving(config: ServerConfig, backend: Any, **settings: Any) -> Iterator[Server]:
    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    with Server(replace(config, port=0, **settings), opener=opener) as server:
        server.catalog.load(LoadArguments("local/rows"))
        yield server


@pytest.fixture
def secured(config: ServerConfig, certified: Certified) -> ServerConfig:
    """Return the settings of a server with a certificate."""
    identity = certified.identity()
    return replace(config, tls_cert=identity.cert, tls_key=identity.key)


@pytest.fixture
def server(secured: ServerConfig, table_backend: Maker) -> Iterator[Server]:
    """Yield a server under TLS of 2,000 rows of about 1 kB."""
    with _serving(secured, table_backend(2000, 1000)) as running:
        yield running


def _connected(server: Server, receive_buffer_bytes: int = 0) -> socket.socket:
    """Return a connection without TLS."""
    connection = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(TIMEOUT_S)
    connection.connect(("127.0.0.1", server.config.port))
    return connection


def _shaken(
    server: Server, certified: Certified, receive_buffer_bytes: int = 0, **options: Any
) -> ssl.SSLSocket:
    """Return a connection with TLS."""
    context = certified.client()
    # Else an end without notice would look like one with it.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    plain = _connected(server, receive_buffer_bytes)
    return context.wrap_socket(
        plain, server_hostname="localhost", suppress_ragged_eofs=False, **options
    )


def _http(server: Server, certified: Certified) -> HTTPSConnection:
    port = server.config.port
    return HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=certified.client())


def _get(path: str, *headers: bytes) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n" % (path.encode(), TOKEN, b"".join(headers))


def _all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def _statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


def _assert_answers(server: Server, certified: Certified) -> None:
    """Check that health and a page of rows are answered."""
    for path in ("/v1/health", f"{ROWS_PATH}?limit=1"):
        with _shaken(server, certified) as connection:
            connection.sendall(_get(path, LAST))
            assert _statuses(_all_of(connection)) == [200]


def _body(connection: HTTPConnection, path: str, accept: str) -> bytes:
    connection.request("GET", path, headers={**AUTHORIZED, "Accept": accept})
    response = connection.getresponse()
    assert response.status == 200
    return response.read()


@pytest.mark.parametrize("accept", [NDJSON, ARROW])
@pytest.mark.parametrize("query", ["", "?seed=3&position=7", "?limit=1"])
def test_a_page_is_that_of_a_plain_server(
    config: ServerConfig,
    secured: ServerConfig,
    certified: Certified,
    table_backend: Maker,
    accept: str,
    query: str,
) -> None:
    """TLS changes no byte of an answer."""
    backend = table_backend(2000, 3000)
    path = ROWS_PATH + query
    with _serving(config, backend) as plain, _serving(secured, backend) as server:
        one = HTTPConnection("127.0.0.1", plain.config.port, timeout=TIMEOUT_S)
        other = _http(server, certified)
        bodies = [_body(one, path, accept), _body(other, path, accept)]
        one.close()
        other.close()

    assert bodies[0] == bodies[1]
    assert "limit" in query or len(bodies[0]) > 2000 * 3000


def test_the_url_of_a_server_under_tls_is_https(server: Server) -> None:
    """The address that a server tells is one that works."""
    assert server.url == f"https://127.0.0.1:{server.config.port}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_connection_carries_many_answers(
    server: Server, certified: Certified, version: ssl.TLSVersion
) -> None:
    """A handshake is made once for many requests, in both versions of TLS, for HTTP/1.1."""
    context = certified.client()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = HTTPSConnection(
        "localhost", server.config.port, timeout=TIMEOUT_S, context=context
    )
    used = []
    for position in range(20):
        page = _body(connection, f"{ROWS_PATH}?position={position}&limit=50", NDJSON)
        assert json.loads(page.splitlines()[0])["number"] == position
        used.append(connection.sock)
    protocol = used[0].selected_alpn_protocol()
    connection.close()

    assert {id(one) for one in used} == {id(used[0])}
    assert protocol == "http/1.1"


def test_a_session_is_resumed(server: Server, certified: Certified) -> None:
    """Who comes back is spared most of a handshake."""
    context = certified.client()
    with context.wrap_socket(_connected(server), server_hostname="localhost") as first:
        first.sendall(_get("/v1/health", LAST))
        assert _statuses(_all_of(first)) == [200]
        session = first.session
    with context.wrap_socket(
        _connected(server), server_hostname="localhost", session=session
    ) as second:
        assert second.session_reused


def test_versions_that_are_broken_are_refused(server: Server, certified: Certified) -> None:
    """TLS 1.1 is not spoken."""
    context = certified.client()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        _connected(server) as plain,
        pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_pipelined_requests_are_answered_in_order(server: Server, certified: Certified) -> None:
    """Hundreds of requests in few records are all answered, each with its own rows."""
    asked = b"".join(_get(f"{ROWS_PATH}?limit=1&position={number}") for number in range(300))
    with _shaken(server, certified) as connection:
        connection.sendall(asked + _get("/v1/health", LAST))
        answer = _all_of(connection)

    assert _statuses(answer) == [200] * 301
    assert [int(number) for number in re.findall(rb'\{"number":(\d+)', answer)] == [*range(300)]


def test_a_body_of_many_records_arrives(server: Server, certified: Certified) -> None:
    """A request of more than a record, sent as fast as can be, is taken in whole."""
    connection = _http(server, certified)
    body = json.dumps({"path": "local/rows", "split": "x" * 200_000})
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    for _ in range(3):
        connection.request("POST", "/v1/load", body, headers)
        response = connection.getresponse()

        assert response.status == 400
        assert len(response.read()) > 10
    connection.close()


def test_a_request_in_single_bytes_is_answered(server: Server, certified: Certified) -> None:
    """Records of one byte make a request like any other."""
    with _shaken(server, certified) as connection:
        for byte in _get("/v1/health", LAST):
            connection.sendall(bytes([byte]))

        assert _statuses(_all_of(connection)) == [200]


def test_a_slow_reader_gets_every_byte(
    secured: ServerConfig, certified: Certified, table_backend: Maker
) -> None:
    """What is sent in many turns, whenever the client has room, is one whole page."""
    backend = table_backend(300, 1 << 16)
    with _serving(secured, backend) as server, ExitStack() as closing:
        readers = [
            closing.enter_context(_shaken(server, certified, receive_buffer_bytes=1 << 14))
            for _ in range(4)
        ]
        for reader in readers:
            reader.sendall(_get(ROWS_PATH, LAST))
        bodies = [b""] * 4
        for _ in range(200):
            for place, reader in enumerate(readers):
                bodies[place] += reader.recv(1000)
        bodies = [body + _all_of(reader) for body, reader in zip(bodies, readers, strict=True)]

    for body in bodies:
        numbers = re.findall(rb'\{"number":(\d+),', body)
        assert [int(number) for number in numbers] == list(range(300))
        assert body.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("path", ["/v1/health", ROWS_PATH])
def test_an_end_is_told_from_a_cut(server: Server, certified: Certified, path: str) -> None:
    """After the last byte of the last answer the client gets TLS's own notice."""
    with _shaken(server, certified) as connection:
        connection.sendall(_get(path, LAST))
        # A missing notice would raise here.
        assert _statuses(_all_of(connection)) == [200]


def test_a_body_that_fails_is_a_cut(
    secured: ServerConfig, certified: Certified, table_backend: Maker
) -> None:
    """A page that breaks off ends without the notice, so that nobody takes it for whole."""
    backend = table_backend(2000, 1000, fails_at=1500)
    with _serving(secured, backend) as server, _shaken(server, certified) as connection:
        connection.sendall(_get(ROWS_PATH, LAST))
        with pytest.raises(ssl.SSLEOFError):
            _all_of(connection)


@pytest.mark.parametrize("notice", [True, False])
def test_a_client_that_leaves_frees_its_page(
    secured: ServerConfig, certified: Certified, table_backend: Maker, notice: bool
) -> None:
    """Whether it says goodbye or not, nothing of it is left."""
    backend = table_backend(2000, 1 << 16)
    with _serving(secured, backend) as server:
        connection = _shaken(server, certified)
        connection.sendall(_get(ROWS_PATH))
        assert connection.recv(100)
        if notice:
            with suppress(ssl.SSLError):
                connection.unwrap()
        connection.close()
        _assert_answers(server, certified)

    assert backend.released[0] == "batches"


@pytest.mark.parametrize(
    "begun",
    [b"", b"\x16", HALF_HELLO, HALF_HELLO + bytes(3000), b"\x80\x2e\x01\x00\x02", bytes(100)],
    ids=["nothing", "byte", "half", "long half", "ssl2", "zeros"],
)
def test_handshakes_that_go_nowhere_keep_nobody_waiting(
    server: Server, certified: Certified, begun: bytes
) -> None:
    """While 100 clients are silent in the middle of a handshake, and after, others are answered."""
    with ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(_connected(server)).sendall(begun)
        _assert_answers(server, certified)
    _assert_answers(server, certified)


def test_health_answers_beside_500_clients_that_never_shake_hands(
    server: Server, certified: Certified
) -> None:
    """Half-open connections cost no thread and no turn of others."""
    with ExitStack() as silent:
        for number in range(500):
            silent.enter_context(_connected(server)).sendall(HALF_HELLO[: number % 40])
        for _ in range(10):
            _assert_answers(server, certified)


@pytest.mark.parametrize("begun", [b"", HALF_HELLO], ids=["nothing", "half"])
def test_a_handshake_has_a_deadline(
    secured: ServerConfig, certified: Certified, backend: Any, begun: bytes
) -> None:
    """A client that does not shake hands in time is closed; one that has done so is not."""
    with (
        _serving(secured, backend) as server,
        _shaken(server, certified) as early,
        _connected(server) as connection,
    ):
        connection.sendall(begun)
        # Only now: on a slow machine the other handshake may take its time, too.
        hasty = replace(server.config, request_timeout=1)
        server.call(lambda: server.apply(hasty))
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        early.sendall(_get("/v1/health", LAST))
        assert _statuses(_all_of(early)) == [200]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plain_http_is_told_of_https(server: Server, method: str) -> None:
    """Who forgets the s of https is told so, in JSON."""
    with _connected(server) as connection:
        connection.sendall(f"{method} /v1/health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = _all_of(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["code"] == "bad-request"
    assert "https" in json.loads(body)["hint"]


@pytest.mark.parametrize("moment", ["connected", "half a hello", "shaken", "amid rows"])
def test_resets_at_any_moment_are_survived(
    server: Server, certified: Certified, moment: str
) -> None:
    """Clients that reset their connection harm nobody, whenever they do."""
    for _ in range(30):
        plain = _connected(server)
        connection: socket.socket = plain
        if moment == "half a hello":
            plain.sendall(HALF_HELLO)
        elif moment != "connected":
            connection = certified.client().wrap_socket(plain, server_hostname="localhost")
            connection.sendall(_get(ROWS_PATH))
        if moment == "amid rows":
            assert connection.recv(50_000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
    _assert_answers(server, certified)


@pytest.mark.parametrize(
    "record",
    [b"\x17\x03\x03", b"\x17\x03\x03\x40\x00" + bytes(100), b"\x17\x03\x03\x00\x20" + bytes(32)],
    ids=["head", "half", "forged"],
)
def test_broken_records_end_their_connection_only(
    server: Server, certified: Certified, record: bytes
) -> None:
    """A record that is cut short or is not the client's is answered with nothing but an end."""
    for _ in range(10):
        # The bytes go around TLS, on the socket below.
        below = _connected(server)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = certified.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        _shake(client, incoming, outgoing, below)
        below.sendall(record)
        below.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            _all_of(below)
        below.close()
    _assert_answers(server, certified)


def _shake(
    client: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, below: socket.socket
) -> None:
    while True:
        try:
            client.do_handshake()
            below.sendall(outgoing.read())
            return
        except ssl.SSLWantReadError:
            below.sendall(outgoing.read())
            incoming.write(below.recv(1 << 16))


def test_clients_that_never_read_keep_nobody_waiting(server: Server, certified: Certified) -> None:
    """While 50 clients take no byte of their rows, others are answered."""
    with ExitStack() as stalled:
        for _ in range(50):
            connection = stalled.enter_context(
                _shaken(server, certified, receive_buffer_bytes=4096)
            )
            connection.sendall(_get(ROWS_PATH))
        _assert_answers(server, certified)
    _assert_answers(server, certified)


def test_a_client_without_progress_is_closed(
    secured: ServerConfig, certified: Certified, table_backend: Maker
) -> None:
    """A client that is owed records and takes none is closed after a while."""
    backend = table_backend(1000, WRITE_BYTES)
    with (
        _serving(secured, backend, stall_timeout=1) as server,
        _shaken(server, certified, receive_buffer_bytes=4096) as connection,
    ):
        connection.sendall(_get(ROWS_PATH))
        assert connection.recv(1)
        while not backend.released:
            with _shaken(server, certified) as other:
                other.sendall(_get("/v1/health", LAST))
                assert _statuses(_all_of(other)) == [200]
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            _all_of(connection)


def test_many_clients_of_every_kind_at_once(server: Server, certified: Certified) -> None:
    """Among clients that leave at any moment, those that stay get every row."""

    def visit(number: int) -> None:
        with _shaken(server, certified) as connection:
            connection.sendall(_get(f"{ROWS_PATH}?seed={number}", LAST))
            if number % 3 == 0:
                rows = _all_of(connection)
                assert rows.count(b'{"number"') == 2000
                assert rows.endswith(b"\r\n0\r\n\r\n")
                return
            assert connection.recv(number * 100 + 1)
            if number % 3 == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(visit, range(120)))
    _assert_answers(server, certified)


class TestClientCertificates:
    """Mutual TLS, in addition to the token."""

    @pytest.fixture
    def mutual(self, secured: ServerConfig, certified: Certified, backend: Any) -> Iterator[Server]:
        """Yield a server that asks clients for a certificate."""
        with _serving(secured, backend, tls_client_ca=certified.ca) as server:
            yield server

    def _ask(self, server: Server, context: ssl.SSLContext, request: bytes) -> bytes:
        with (
            _connected(server) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(request)
            return _all_of(connection)

    def test_one_is_required(self, mutual: Server, certified: Certified) -> None:
        """A client without a certificate gets no answer, not even of health."""
        with pytest.raises(OSError):
            self._ask(mutual, certified.client(), _get("/v1/health", LAST))

    def test_one_of_another_authority_does_not_count(
        self, mutual: Server, certified: Certified, tmp_path: Path
    ) -> None:
        """A certificate that the named authority has not signed opens nothing."""
        stranger = Certified(tmp_path).identity("stranger")
        with pytest.raises(OSError):
            self._ask(mutual, certified.client(stranger), _get("/v1/health", LAST))

    def test_the_token_is_asked_for_too(self, mutual: Server, certified: Certified) -> None:
        """With its certificate a client is answered, and rows still need the token."""
        context = certified.client(certified.identity("client"))
        bare = b"GET /v1/datasets HTTP/1.1\r\nHost: x\r\n" + LAST + b"\r\n"

        assert _statuses(self._ask(mutual, context, _get("/v1/datasets", LAST))) == [200]
        assert _statuses(self._ask(mutual, context, bare)) == [401]


def test_a_client_that_left_is_wrapped_and_closed(certified: Certified) -> None:
    """A connection that was reset before its turn is lost with no socket left open."""
    identity = certified.identity()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        with Certificates(identity).wrap(accepted) as connection:
            assert connection.getpeername() == ("", 0)
            with pytest.raises(OSError):
                connection.do_handshake()
