"""Requests that no client of ours would send: none stops a server, and none is told too much."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from raw_client import (
    LAST,
    TIMEOUT_S,
    TOKEN,
    connected,
    get,
    length,
    load,
    received,
    sent,
    statuses,
)

from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.policy import Grant
from fdss.serving import Server

Maker = Callable[..., Any]

HANDLE = LoadArguments("local/rows").handle
LISTING = get("/v1/datasets", TOKEN, LAST)


@pytest.fixture
def server(config: ServerConfig, table_backend: Maker) -> Iterator[Server]:
    """Yield a server on a real port that serves 2,000 rows of about 1 kB as ``local/rows``."""
    backend = table_backend(2000, 1000)

    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    with Server(replace(config, port=0), opener=opener) as running:
        running.catalog.load(LoadArguments("local/rows"))
        yield running


def _connected(server: Server, receive_buffer_bytes: int = 0) -> socket.socket:
    return connected(server.config.port, receive_buffer_bytes)


def _ask(server: Server, data: bytes) -> bytes:
    return sent(server.config.port, data)


def _assert_answers(server: Server) -> None:
    """Check that health, a load and a page of rows are answered."""
    body = b'{"path": "local/rows"}'
    assert statuses(_ask(server, get("/v1/health", LAST))) == [200]
    assert statuses(_ask(server, load(body, TOKEN, LAST, length(body)))) == [200]
    rows = get(f"/v1/datasets/{HANDLE}/iter?limit=1", TOKEN, LAST)
    assert statuses(_ask(server, rows)) == [200]


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer x\r\n" + TOKEN,
        TOKEN + b"Authorization: Bearer x\r\n",
        TOKEN + TOKEN,
        TOKEN + b"Authorization:\r\n",
        b"HTTP_AUTHORIZATION: Bearer test-token\r\n",
        b"Proxy-Authorization: Bearer test-token\r\n",
        b"Authorization: Bearer test-token x\r\n",
        b"Authorization: Bearer \xfftest-token\r\n",
        b"Authorization: Bearer " + b"t" * 30_000 + b"\r\n",
        b"X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n",
    ],
)
def test_no_other_header_stands_for_the_token(server: Server, header: bytes) -> None:
    """A token that is repeated, added to, or in another header opens nothing."""
    assert statuses(_ask(server, get("/v1/datasets", header, LAST))) == [401]


@pytest.mark.parametrize("odd", [b"\x00: x", b": x\ry", b" : x", b": x\ny", b": x\x00"])
def test_a_header_of_odd_bytes_is_refused(server: Server, odd: bytes) -> None:
    """A header that parsers may read in different ways is no header."""

    assert statuses(_ask(server, get("/v1/health", b"X" + odd + b"\r\n", LAST))) == [400]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/health/../datasets",
        "/v1/health%2f..%2fdatasets",
        "/v1/health;/v1/datasets",
        "/v1/health%00",
        "/v1//health",
        "/V1/datasets",
        "http://127.0.0.1/v1/datasets",
        "//v1/datasets",
        "/%76%31/datasets",
        "/v1/datasets?token=test-token",
    ],
)
def test_no_spelling_of_a_path_goes_around_the_gate(server: Server, path: str) -> None:
    """Only exactly the open paths answer without a token."""
    assert statuses(_ask(server, get(path, LAST))) == [401]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"Content-Length: 0\r\nContent-Length: 0\r\n", [400]),
        (b"Content-Length: 0\r\nContent-Length: 9\r\n", [400]),
        (b"Content-Length: +0\r\n", [400]),
        (b"Content-Length: -1\r\n", [400]),
        (b"Content-Length: 0_0\r\n", [400]),
        (b"Content-Length: \xef\xbc\x90\r\n", [400]),
        (b"Content-Length: " + b"9" * 400 + b"\r\n", [413]),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", [400]),
        (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", [400]),
        (b"Transfer-Encoding: chunked, chunked\r\n", [400]),
        (b"Transfer-Encoding : chunked\r\n", [400]),
        (b"Transfer-Encoding:\r\n chunked\r\n", [400]),
        (b"X: y\r\n\tContent-Length: 5\r\n", [400]),
        (b"Content-Length: 5\rX: y\r\n", [400]),
        (b"Content-Length: 5\nX: y\r\n", [400]),
        (b"Transfer-Encoding: xchunked\r\n", [400]),
        (b"Transfer-Encoding: chunked, identity\r\n", [400]),
        (b"Transfer-Encoding: \x0bchunked\r\n", [400]),
    ],
)
def test_a_doubtful_length_ends_the_connection(
    server: Server, headers: bytes, expected: list[int]
) -> None:
    """Where a body's end can be read in two ways, nothing after it is taken for a request."""
    assert statuses(_ask(server, load(LISTING, TOKEN, headers))) == expected


def test_the_older_protocol_has_no_chunks(server: Server) -> None:
    """HTTP/1.0 with a coded body, which one side would read and the other not, is refused."""
    asked = load(b"0\r\n\r\n", TOKEN, b"Transfer-Encoding: chunked\r\n")

    assert statuses(_ask(server, asked.replace(b"1.1", b"1.0"))) == [400]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/health",
        b"GET  /v1/health HTTP/1.1",
        b"GET /v1/health HTTP/1.1 HTTP/1.1",
        b"GET /v1/health HTTP/2.0",
        b"GET /v1/health HTTP/9.9",
        b"GET /v1/health http/1.1",
        b"GET /v1/health\tHTTP/1.1",
        b"GET /v1/hea\x00lth HTTP/1.1",
        b"GET /v1/hea\x0blth HTTP/1.1",
        b"GET http://[::1/v1/health HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"get /v1/health HTTP/1.1",
        b"G\xc3\x89T /v1/health HTTP/1.1",
        b"X" * 40 + b" /v1/health HTTP/1.1",
        b"\x80\x2e\x01\x03\x01",
    ],
)
def test_a_line_that_is_no_request_is_refused(server: Server, line: bytes) -> None:
    """Other versions, other blanks, control characters and half addresses are a 400 in JSON."""
    answer = _ask(server, line + b"\r\nHost: x\r\n\r\n")

    assert statuses(answer) == [400]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad-request"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://other.example/v1/health HTTP/1.1", 200),
        (b"HEAD /v1/health HTTP/1.1", 200),
        (b"OPTIONS /v1/health HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"TRACE /v1/health HTTP/1.1", 405),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1", 404),
        (b"BREW /v1/health HTTP/1.1", 405),
        (b"GET /v1/datasets/%00/length HTTP/1.1", 404),
        (b"GET /v1/datasets/%ff%fe/length HTTP/1.1", 404),
        (b"GET /v1/datasets/%c0%ae%c0%ae/length HTTP/1.1", 404),
        (b"GET /v1/datasets/%ed%a0%80/length HTTP/1.1", 404),
        (b"GET /v1/datasets/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", 404),
        (b"GET /v1/datasets/%2e%2e%2fhealth HTTP/1.1", 404),
        (b"GET /v1/datasets/\xff HTTP/1.1", 400),
        (b"GET /v1/datasets/%zz HTTP/1.1", 404),
        (b"GET /%ed%a0%80 HTTP/1.1", 404),
        (b"GET /v1/datasets/HANDLE/iter?columns=%ff HTTP/1.1", 400),
        (b"GET /v1/datasets/HANDLE/iter?columns=%ed%a0%80 HTTP/1.1", 400),
        (b"GET /v1/datasets/HANDLE/iter?%00=1 HTTP/1.1", 400),
        (b"GET /v1/datasets/HANDLE/iter?\xff=\xff HTTP/1.1", 400),
        (b"GET /v1/datasets/HANDLE/iter?limit=%ff HTTP/1.1", 400),
        (b"GET /v1/health?%ff;%00&&&=== HTTP/1.1", 200),
    ],
)
def test_an_odd_request_has_an_answer_that_is_no_failure(
    server: Server, line: bytes, status: int
) -> None:
    """Methods, forms of a URL and bytes in it that no client of ours sends are answered."""
    asked = line.replace(b"HANDLE", HANDLE.encode()) + b"\r\n" + TOKEN + LAST + b"\r\n"
    answer = _ask(server, asked)

    assert statuses(answer) == [status]
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
    assert b"\r\nCache-Control: no-store\r\n" in answer


def test_a_refusal_does_not_tell_the_token(server: Server) -> None:
    """A header that is malformed is not repeated to whoever reads the answer."""
    answer = _ask(server, get("/v1/datasets", TOKEN[:-2] + b"\n", LAST))

    assert statuses(answer) == [400]
    assert b"test-token" not in answer


@pytest.mark.parametrize("size", [b"0x1", b"-1", b"+1", b"1_0", b"1;a\nb"])
def test_a_malformed_chunk_is_refused(server: Server, size: bytes) -> None:
    """A chunk's size is hexadecimal digits and nothing else."""
    body = size + b"\r\n{\r\n0\r\n\r\n"

    assert statuses(_ask(server, load(body, TOKEN, b"Transfer-Encoding: chunked\r\n"))) == [400]


def test_hundreds_of_requests_in_one_go_are_answered_in_order(server: Server) -> None:
    """Pipelined requests are all answered, each with its own rows."""
    asked = b"".join(
        get(f"/v1/datasets/{HANDLE}/iter?limit=1&columns=number&position={position}", TOKEN)
        for position in range(300)
    )
    answer = _ask(server, asked + LISTING)

    assert statuses(answer) == [200] * 301
    numbers = re.findall(rb'\{"number":(\d+)\}\n', answer)
    assert [int(number) for number in numbers] == list(range(300))


def test_expect_continue_comes_before_the_answer(server: Server) -> None:
    """A client that asks before it sends is told to go on, and then answered."""
    body = b'{"path": "local/rows"}'
    headers = (TOKEN, LAST, b"Expect: 100-continue\r\n", length(body))
    with _connected(server) as connection:
        connection.sendall(load(b"", *headers))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)

        assert statuses(received(connection)) == [200]


def test_expect_continue_behind_another_request_comes_after_its_answer(server: Server) -> None:
    """The call for a body does not stand in the middle of the answer before it."""
    body = b'{"path": "local/rows"}'
    headers = (TOKEN, LAST, b"Expect: 100-continue\r\n", length(body))
    with _connected(server) as connection:
        connection.sendall(get("/v1/health") + load(b"", *headers))
        before = b""
        while not before.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            part = connection.recv(1 << 16)
            assert part, before
            before += part
        connection.sendall(body)
        after = received(connection)

    assert (statuses(before), statuses(after)) == ([200, 100], [200])


def test_a_request_whose_sender_is_done_is_answered(server: Server) -> None:
    """A client may close its half of the connection and still read."""
    with _connected(server) as connection:
        connection.sendall(LISTING)
        connection.shutdown(socket.SHUT_WR)

        assert statuses(received(connection)) == [200]


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /v1/hea",
        b"GET /v1/health HTTP/1.1\r\nX-",
        b"POST /v1/load HTTP/1.1\r\nContent-Length: 22\r\n\r\n{",
        b"POST /v1/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{",
        b"POST /v1/load HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_unfinished_requests_keep_nobody_waiting(server: Server, begun: bytes) -> None:
    """While 100 clients are silent in the middle of a request, and after, others are answered."""
    with contextlib.ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(_connected(server)).sendall(begun)
        _assert_answers(server)
    _assert_answers(server)


def test_clients_that_never_read_keep_nobody_waiting(server: Server) -> None:
    """While 100 clients take no byte of their rows, others are answered."""
    with contextlib.ExitStack() as stalled:
        for _ in range(100):
            connection = stalled.enter_context(_connected(server, receive_buffer_bytes=4096))
            connection.sendall(get(f"/v1/datasets/{HANDLE}/iter", TOKEN))
        _assert_answers(server)
    _assert_answers(server)


@pytest.mark.parametrize("read_bytes", [0, 1, 50_000])
def test_resets_amid_rows_are_survived(server: Server, read_bytes: int) -> None:
    """Clients that reset their connection, at once or amid their rows, harm nobody."""
    for _ in range(30):
        with _connected(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(get(f"/v1/datasets/{HANDLE}/iter?seed=1", TOKEN))
            if read_bytes:
                connection.recv(read_bytes)
    _assert_answers(server)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"path": "local/rows", "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"path": "local/rows", "x": 1e400}',
        b'{"path": "local/rows", "x": ' + b"9" * 5000 + b"}",
        b'{"path": "local/rows", "x": NaN}',
        b'{"path": "\\ud800"}',
        b'{"path": "local/rows\\u0000"}',
        b'{"path": "local/rows", "split": {}}',
        b'{"path": "local/rows", "data_files": {"../x": "a"}}',
    ],
)
def test_json_of_no_sense_is_a_client_error(server: Server, body: bytes) -> None:
    """What cannot be arguments is a 400 with the shape of errors."""
    answer = sent(server.config.port, load(body, TOKEN, LAST, length(body)))
    refusal = json.loads(answer.partition(b"\r\n\r\n")[2])

    assert statuses(answer) == [400]
    assert set(refusal) == {"error", "code", "hint"}


ODD_NUMBERS = ["-1", "%2B1", "%201", "1%00", "1%0A", "1e3", "1.0", "0x1", "1_0", "", "1" + "0" * 99]


@pytest.mark.parametrize("number", [*ODD_NUMBERS, "%EF%BC%91%EF%BC%92", "NaN"])
@pytest.mark.parametrize("name", ["position", "limit", "seed", "block", "window", "stride"])
def test_numbers_are_plain_decimal_digits(
    client: FlaskClient, handle: str, name: str, number: str
) -> None:
    """Nothing that merely looks like a number to Python is one."""
    response = client.get(f"/v1/datasets/{handle}/iter?{name}={number}")

    assert (response.status_code, response.get_json()["code"]) == (400, "bad-parameter")


@pytest.mark.parametrize(
    "path",
    [
        "local/..",
        "local/../rows",
        "local/rows/../../rows",
        "local/./rows",
        "local//rows",
        "local/rows/",
        "local\\rows",
        "local/\uff52ows",
        "./local/rows",
        "\\\\server\\rows",
        "c:rows",
        "~root",
        "file:///rows",
        "Text",
        "tEXT",
        "text ",
        "te\u0445t",
    ],
)
def test_only_the_name_itself_names_a_local(server: Server, path: str) -> None:
    """Spellings that some file system would take for the same place are not opened."""
    body = json.dumps({"path": path}).encode()
    answer = sent(server.config.port, load(body, TOKEN, LAST, length(body)))

    [status] = statuses(answer)
    assert status in (400, 403, 404)


def test_a_failing_load_fails_fifty_times(config: ServerConfig, tmp_path: Path) -> None:
    """Fifty loads of a broken folder at once are fifty answers that tell no path."""
    broken = tmp_path / "broken folder"
    broken.mkdir()
    (broken / "state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    begin = threading.Barrier(50)
    body = b'{"path": "local/broken"}'
    request = load(body, TOKEN, LAST, length(body))
    settings = replace(config, port=0, local={"broken": broken})

    def ask(running: Server) -> bytes:
        begin.wait(TIMEOUT_S)
        return _ask(running, request)

    with Server(settings) as running, ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(ask, [running] * 50))

    bodies = {answer.partition(b"\r\n\r\n")[2] for answer in answers}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["code"] == "dataset-damaged"
    assert not any(os.fsencode(tmp_path.name) in answer for answer in answers)


def client_of(**settings: Any) -> FlaskClient:
    """Return a client with the right token."""
    config = ServerConfig(auth_token="test-token", **settings)
    client = create_app(config, Catalog(config)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer test-token"
    return client


def test_the_answer_to_head_has_no_body_at_all(config: ServerConfig, table_backend: Any) -> None:
    """What follows the head of a HEAD answer is the next answer."""
    backend = table_backend()
    with Server(replace(config, port=0), opener=lambda g, a: backend) as server:
        handle = server.catalog.load(LoadArguments("local/rows")).handle
        with socket.create_connection(("127.0.0.1", server.config.port), timeout=60) as client:
            head = f"/v1/datasets/{handle}/iter HTTP/1.1\r\nAuthorization: Bearer test-token\r\n"
            client.sendall(f"HEAD {head}\r\nHEAD {head}Connection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert answer.count(b"\r\n\r\n") == 2


def test_a_step_beyond_all_rows_is_no_failure_on_disk(sample_folder: Path) -> None:
    """A step of more than 63 bits is refused or selects one row."""
    client = client_of(local={"x": sample_folder})
    handle = client.post("/v1/load", json={"path": "local/x"}).get_json()["handle"]
    answer = client.get(f"/v1/datasets/{handle}/iter?rows=0:10:{1 << 63}")
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_one_broken_local_leaves_the_others_listed(
    tmp_path: Path, sample_folder: Path, name: str
) -> None:
    """The list of locals names a folder nobody can read too."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / name).write_text("[" * 200_000)
    answer = client_of(local={"broken": broken, "sample": sample_folder}).get("/v1/local")
    assert answer.status_code == 200


def test_a_place_with_a_space_is_not_told(tmp_path: Path) -> None:
    """No part of a folder's place is in the refusal of a load."""
    folder = tmp_path / "hidden place" / "inner"
    folder.mkdir(parents=True)
    answer = client_of(local={"x": folder}).post("/v1/load", json={"path": "local/x"})
    assert b"place" not in answer.data.replace(b"placed", b"")
