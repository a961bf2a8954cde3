"""What the router takes from a server that does all it can to keep it, or to fill its memory."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from raw_server import Answer, Request, StartServer, chunk, raw_servers, response
from urllib3.util import connection as connections

from fdss.router.asking import MAX_BODY_BYTES, MAX_VALUES, PIECE_BYTES, Ask, Asker, AskFailed
from fdss.router.membership import Member

TIMEOUT_S = 1.0
#: A server that sends a byte this often never lets a socket's own timeout pass.
DRIP_S = 0.2


@pytest.fixture
def start() -> Iterator[StartServer]:
    """Return a call that starts a server with an answering function."""
    with raw_servers() as start:
        yield start


def _ask(url: str, timeout_s: float = 60.0) -> object:
    with closing(Asker(Member(url, "secret-token"))) as asker:
        return asker.get("/v1/health", timeout_s)


def _sent(content: bytes) -> Answer:
    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(content)

    return answer


def _drips(*beginnings: bytes) -> Callable[[StartServer], str]:
    def begin(start: StartServer) -> str:
        def answer(request: Request, connection: socket.socket) -> None:
            for beginning in beginnings:
                connection.sendall(beginning)
            while not server.stopping.wait(DRIP_S):
                connection.sendall(b"x")

        server = start(answer)
        return server.url

    return begin


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(_drips(b"HTTP/1.1 200 OK\r\nX-Slow: "), id="head"),
        pytest.param(_drips(response(length=10**6)), id="body"),
        pytest.param(_drips(response(length=None), b"f4240\r\n"), id="chunk"),
        pytest.param(_drips(response(length=None), chunk(b"{}"), b"0\r\nX: "), id="trailer"),
    ],
)
def test_answer_that_never_ends_is_given_up_in_time(
    start: StartServer, begin: Callable[[StartServer], str]
) -> None:
    """A byte now and then keeps nobody longer than the whole answer may take."""
    url = begin(start)
    begun_s = time.monotonic()

    with pytest.raises(AskFailed, match="no answer in time"):
        _ask(url, TIMEOUT_S)

    assert time.monotonic() - begun_s > TIMEOUT_S - 0.1


def test_redirect_is_an_answer_and_is_not_followed(start: StartServer) -> None:
    """A server that sends the router elsewhere is asked, and nobody else is; so is its token."""
    inner = start(_sent(response(b"{}")))
    moved = response(status="307 Temporary Redirect", headers={"Location": f"{inner.url}/v1/x"})
    outer = start(_sent(moved))

    with pytest.raises(AskFailed, match="307") as failed:
        _ask(outer.url)

    assert failed.value.status == 307
    assert (len(outer.requests), inner.requests) == (1, [])


def test_answer_that_is_too_large_is_no_answer(start: StartServer) -> None:
    """Beyond 32 MiB nothing more is read."""
    server = start(_sent(response(length=MAX_BODY_BYTES + 2) + b'"' + b" " * (1 + MAX_BODY_BYTES)))

    with pytest.raises(AskFailed, match="more than 33,554,432 bytes"):
        _ask(server.url)


def test_compressed_answer_is_none(start: StartServer) -> None:
    """What was not asked for is not unpacked: a few bytes may become any number of them."""
    packed = gzip.compress(b"{}" + b" " * 10**7)
    server = start(_sent(response(packed, headers={"Content-Encoding": "gzip"})))

    with pytest.raises(AskFailed, match="compressed"):
        _ask(server.url)


@pytest.mark.parametrize("place", [b"http://[", b"\xff\xfe", b"http://127.0.0.1:1/"])
def test_redirect_is_read_no_further_than_any_answer(start: StartServer, place: bytes) -> None:
    """Wherever a redirect leads, its body is as bounded as others, and never unpacked."""
    head = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n"
    body = b" " * (MAX_BODY_BYTES + PIECE_BYTES)
    endless = start(_sent(head + b"Content-Length: 999999999999\r\n\r\n" + body))
    packed = start(_sent(head + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"))
    short = start(_sent(head + b"Content-Length: 2\r\n\r\n{}"))

    for server, reason in ((endless, "more than"), (packed, "compressed"), (short, "302")):
        with pytest.raises(AskFailed, match=reason):
            _ask(server.url)


def test_line_that_is_no_http_is_told_in_characters_that_can_be_seen(start: StartServer) -> None:
    """What stands where a status should can neither steer a terminal nor begin a line."""
    server = start(_sent(b"\x1b[31m down\x0b\x85 INFO forged\x07\r\n\r\n"))

    with pytest.raises(AskFailed, match="forged") as failed:
        _ask(server.url)

    assert str(failed.value).isprintable()


_MANY = b'{"a":[' + b"[]," * (MAX_VALUES // 2 + 1) + b"0]}"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"3",
        b"[" * 100_000,
        b"\xff",
        b'{"a": NaN}',
        b'{"a": 1' + b"0" * 400 + b"}",
        b'{"a": "\\ud800"}',
        b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
        pytest.param(_MANY, id="many"),
    ],
)
def test_answer_that_is_no_object_is_none(start: StartServer, body: bytes) -> None:
    """Whatever else comes with status 200 is a failure of the server."""
    server = start(_sent(response(body)))

    with pytest.raises(AskFailed, match="JSON object"):
        _ask(server.url)


def test_words_of_a_server_are_one_short_line(start: StartServer) -> None:
    """What a server says of a refusal is cut, and can begin no line of its own."""
    body = b'{"error": "one\\ntwo\\u001b[31m' + b"x" * 1000 + b'", "code": "paths-disabled"}'
    server = start(_sent(response(body, status="403 Forbidden")))

    with pytest.raises(AskFailed) as failed:
        _ask(server.url)

    assert (failed.value.status, failed.value.code) == (403, "paths-disabled")
    assert failed.value.is_refusal and str(failed.value).isprintable()
    assert len(str(failed.value)) < 400


def test_answer_in_lines_is_cut_after_a_whole_one(start: StartServer) -> None:
    """Of a page that is too large the whole lines that came in time are kept."""
    server = start(_sent(response(b"{}\n" * 100_000)))

    with closing(Asker(Member(server.url))) as asker:
        answer = asker.take(Ask("/v1/x", 60.0, page_bytes=1000))

    assert answer.is_cut and answer.body == b"{}\n" * 333


def test_time_begins_anew_with_each_question(start: StartServer) -> None:
    """A connection that is kept has the whole time for its next answer."""
    server = start(_sent(response(b"{}")))

    with closing(Asker(Member(server.url))) as asker:
        for _ in range(3):
            assert asker.get("/v1/health", 60.0) == {}
        assert asker.received_bytes == 6
    assert len(server.connections) == 1


def test_certificates_that_cannot_be_read_are_told_without_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is asked of an https server for somebody else does not say where the files lie."""
    missing = str(tmp_path / "authorities.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", missing)
    for _ in range(2):
        with pytest.raises(AskFailed, match="the router's own certificates") as failed:
            _ask("https://127.0.0.1:9")
        assert missing not in str(failed.value)

    assert [missing in record.getMessage() for record in caplog.records] == [True]


def test_proxy_of_the_network_is_asked_in_bounded_time_too(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment names a proxy it is asked for servers of other machines."""
    sound = start(_sent(response(b'{"status": "ok"}')))
    monkeypatch.setenv("http_proxy", sound.url)
    assert _ask("http://host.example:8766") == {"status": "ok"}
    assert sound.requests[0].target == "http://host.example:8766/v1/health"

    monkeypatch.setenv("http_proxy", _drips(b"HTTP/1.1 200 OK\r\nX-Slow: ")(start))
    with pytest.raises(AskFailed, match="no answer in time"):
        _ask("http://host.example:8766", TIMEOUT_S)


def test_a_name_of_many_hanging_addresses_has_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each address is tried for what is left of the time, not for all of it again."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("0.0.0.0", 0))
        full.listen(0)
        full_port = full.getsockname()[1]
        # Nobody accepts: whoever comes behind those in the queue is not answered.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", full_port))
        real = socket.getaddrinfo

        def looked_up(host: str, *others: Any, **named: Any) -> Any:
            if host != "several.example":
                return real(host, *others, **named)
            return [
                one for last in range(1, 5) for one in real(f"127.0.0.{last}", *others, **named)
            ]

        tried_s = []

        def connected(address: Any, timeout: float, *others: Any, **named: Any) -> Any:
            tried_s.append(timeout)
            return real_connection(address, timeout, *others, **named)

        real_connection = connections.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        monkeypatch.setattr(connections, "create_connection", connected)
        with pytest.raises(AskFailed, match="no answer in time"):
            _ask(f"http://several.example:{full_port}", TIMEOUT_S)

    assert sum(tried_s) <= TIMEOUT_S


def test_a_name_is_asked_at_its_next_address(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address where nobody listens is passed over, and the host keeps its name."""
    hosts = []

    def answer(request: Request, connection: socket.socket) -> None:
        hosts.append(request.headers["host"])
        connection.sendall(response(b"{}"))

    server = start(answer)
    port = int(server.url.rpartition(":")[2])
    real = socket.getaddrinfo

    def looked_up(host: str, *others: Any, **named: Any) -> Any:
        addresses = ["127.0.0.9", "127.0.0.1"] if host == "several.example" else [host]
        return [one for address in addresses for one in real(address, *others, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)

    assert _ask(f"http://several.example:{port}") == {}
    assert hosts == [f"several.example:{port}"]
