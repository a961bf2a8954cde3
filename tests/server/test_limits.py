"""What a client may have and send, and what it is told beyond that."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from open_files import open_files
from raw_client import LAST, TOKEN, connected, get, length, load, received, sent, statuses
from waitress.adjustments import Adjustments

from fdss.admission import Quota, client_of
from fdss.arguments import LoadArguments
from fdss.arrivals import MOST_PIPELINED
from fdss.backend import Selection
from fdss.config import ServerConfig
from fdss.errors import BadRequest, TooManyStreams, error_kinds
from fdss.lanes import LOAD_THREADS
from fdss.listener import REFUSABLE
from fdss.parsing import RequestLimits, RequestParser
from fdss.serving import Server
from fdss.settings import LIMITS
from fdss.views.sizes import check_size

Maker = Callable[..., Any]
StartServer = Callable[..., Server]

HANDLE = LoadArguments("local/rows").handle
ROWS_PATH = f"/v1/datasets/{HANDLE}/iter"
ROWS_PAGE = get(ROWS_PATH, TOKEN)
ONE_ROW = get(f"{ROWS_PATH}?limit=1", TOKEN, LAST)
HEALTH = get("/v1/health", LAST)
BODY = b'{"path": "local/rows"}'
TIMEOUT_S = 60


@pytest.fixture
def long_backend(table_backend: Maker) -> Any:
    """Return a backend of 16 MiB: many times what the system keeps for clients that do not read."""
    return table_backend(256, 1 << 16)


@pytest.fixture
def start(config: ServerConfig, table_backend: Maker) -> Iterator[StartServer]:
    """Return what starts a server of 3,000 rows of 1 kB; arguments change its settings."""
    with ExitStack() as running:

        def start(backend: Any = None, opener: Any = None, **settings: Any) -> Server:
            served = table_backend(3000, 1000) if backend is None else backend
            server = Server(
                replace(config, port=0, **settings),
                opener=opener or (lambda granted, arguments: served),
            )
            running.enter_context(server)
            if opener is None:
                server.catalog.load(LoadArguments("local/rows"))
            return server

        yield start


def told(answer: bytes) -> tuple[list[int], str]:
    """Return the statuses and the code of the last answer, whose shape is checked."""
    body = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    assert set(body) == {"error", "code", "hint"}
    assert body["code"] in error_kinds()
    return statuses(answer), body["code"]


def ask_until(server: Server, request: bytes, status: int) -> None:
    """Ask until the answer has a status."""
    deadline = time.monotonic() + TIMEOUT_S
    while statuses(sent(server.config.port, request)) != [status]:
        assert time.monotonic() < deadline


LONG = b"x" * 5000


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (get("/v1/health?" + "x" * 1000, LAST), 414, "url-too-long"),
        (b"GET /" + LONG, 414, "url-too-long"),
        (get("/v1/health", b"X: " + LONG + b"\r\n"), 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nX: " + LONG, 431, "headers-too-large"),
        (get("/v1/health", *[b"X: y\r\n"] * 11), 431, "headers-too-large"),
        (load(LONG, TOKEN, length(LONG)), 413, "body-too-large"),
        (load(b"", TOKEN, b"Content-Length: 99999999999999999999\r\n"), 413, "body-too-large"),
        (
            load(b"1388\r\n" + LONG + b"\r\n0\r\n\r\n", TOKEN, b"Transfer-Encoding: chunked\r\n"),
            413,
            "body-too-large",
        ),
        (load(b"", TOKEN, b"Content-Length: " + b"9" * 900 + b"\r\n"), 413, "body-too-large"),
    ],
)
def test_what_is_too_large_is_refused(
    start: StartServer, request_: bytes, status: int, code: str
) -> None:
    """A URL, a header, a number of them or a body above its limit has its own refusal."""
    server = start(max_url_bytes=1000, max_headers=10, max_header_bytes=3000, max_body_bytes=2000)

    assert told(sent(server.config.port, request_)) == ([status], code)
    assert statuses(sent(server.config.port, HEALTH)) == [200]


def test_what_just_fits_is_served(start: StartServer) -> None:
    """The limits themselves are allowed."""
    url = "/v1/health?" + "x" * 989
    body = BODY.ljust(2000)
    server = start(max_url_bytes=1000, max_headers=10, max_header_bytes=3000, max_body_bytes=2000)
    head = get(url, *[b"X: y\r\n"] * 8, b"X: ", b"y" * 1911, b"\r\n", LAST)

    assert (len(url), len(head)) == (1000, 3000)
    assert statuses(sent(server.config.port, head)) == [200]
    assert statuses(sent(server.config.port, load(body, TOKEN, LAST, length(body)))) == [200]


def test_all_columns_that_may_be_named_fit_into_a_url() -> None:
    """4,096 names of 60 characters, their commas encoded, are a URL the defaults take."""
    config = ServerConfig()
    columns = "%2C".join("c" * 60 for _ in range(config.max_columns))

    assert len(f"{ROWS_PATH}?position=1000000&limit=1000000&columns={columns}") < (
        config.max_url_bytes
    )
    assert config.max_url_bytes + 32768 <= config.max_header_bytes


def test_a_head_of_single_bytes_is_read_in_linear_time() -> None:
    """A head of the largest size, a byte at a time, is not searched anew with each."""
    limits = RequestLimits()
    head = get("/v1/health?" + "x" * 200_000, LAST)
    request = RequestParser(Adjustments(max_request_header_size=limits.header_bytes + 1), limits)
    begun_s = time.process_time()
    taken = [request.received(head[at : at + 1]) for at in range(len(head))]

    assert taken == [1] * len(head)
    assert request.completed
    assert request.error is None
    assert time.process_time() - begun_s < 10


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_a_head_may_end_anywhere_in_what_arrives(step: int) -> None:
    """Of two requests sent at once each gets its own bytes, whatever the pieces."""
    both = load(BODY, TOKEN, length(BODY)) + HEALTH
    left, urls = both, []
    while left:
        request = RequestParser(Adjustments(), RequestLimits())
        while not request.completed:
            left = left[request.received(left[:step]) :]
        assert request.error is None
        urls.append(request.path)
        request.close()

    assert urls == ["/v1/load", "/v1/health"]


def test_a_refusal_is_read_while_the_body_is_still_sent(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends megabytes before it reads still learns that they are too many."""
    monkeypatch.setattr("fdss.arrivals.LINGER_S", 60.0)
    server = start()
    with connected(server.config.port) as client:
        client.sendall(load(b"", TOKEN, b"Content-Length: 4000000\r\n"))
        with contextlib.suppress(ConnectionError):
            client.sendall(b"x" * 4_000_000)
        answer = received(client)

    assert told(answer) == ([413], "body-too-large")


@pytest.mark.parametrize(
    "value",
    [
        [[[[]]]],
        {"a": {"b": {"c": {}}}},
        [0] * 20,
        {str(key): 0 for key in range(10)},
        {"a": [0] * 9, "b": [0] * 9},
    ],
)
def test_json_that_is_too_deep_or_too_much_is_refused(start: StartServer, value: Any) -> None:
    """Levels and values of a body are counted, wherever they stand."""
    body = json.dumps({"path": "local/rows", "data_files": value}).encode()
    server = start(max_json_depth=4, max_json_items=20)

    answer = sent(server.config.port, load(body, TOKEN, LAST, length(body)))
    assert told(answer) == ([400], "bad-request")


def test_json_within_the_limits_passes() -> None:
    """The limits themselves are allowed, and one less is not."""
    check_size([[[1]]], most_levels=4, most_items=4)
    for levels, items in ((3, 4), (4, 3)):
        with pytest.raises(BadRequest):
            check_size([[[1]]], most_levels=levels, most_items=items)


def test_more_columns_than_may_be_named_are_refused(make_client: Maker) -> None:
    """The number of columns of a request has a limit that its refusal names."""
    client: FlaskClient = make_client(max_columns=2)
    handle = client.post("/v1/load", json={"path": "local/rows"}).get_json()["handle"]
    answer = client.get(f"/v1/datasets/{handle}/iter?columns=a,b,c").get_json()

    assert answer["code"] == "bad-parameter"
    assert "--max-columns" in answer["hint"]


def test_a_refused_column_is_answered_with_few_others(make_client: Maker, backend: Any) -> None:
    """Of thousands of columns the hint names some."""
    backend.table = pa.table({f"column {n}": [0] for n in range(5000)})
    client: FlaskClient = make_client()
    handle = client.post("/v1/load", json={"path": "local/rows"}).get_json()["handle"]

    assert len(client.get(f"/v1/datasets/{handle}/iter?columns=x").data) < 3000


@pytest.mark.parametrize("begun", [b"GET /v1/he", load(b"{", TOKEN, b"Content-Length: 9\r\n")])
def test_a_request_that_does_not_arrive_is_closed(start: StartServer, begun: bytes) -> None:
    """A head or a body that does not end has its connection closed, however it trickles."""
    server = start(request_timeout=1)
    stopped = threading.Event()
    with connected(server.config.port) as client:
        client.sendall(begun)

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not stopped.wait(0.2):
                    client.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""
        stopped.set()
        thread.join()


def test_half_a_request_behind_a_long_stream_has_its_time_after_it(
    start: StartServer, long_backend: Any
) -> None:
    """What the server itself does not read on is not late; once it is its turn, it is."""
    server = start(long_backend, request_timeout=1)
    with connected(server.config.port, receive_buffer_bytes=4096) as client:
        client.sendall(ROWS_PAGE + b"GET /v1/he")
        assert client.recv(1) == b"H"
        [channel] = server._listener.active_channels.values()
        late = channel.is_overdue(time.time() + 10, 1)
        rows = received(client)

    assert not late
    assert rows.endswith(b"0\r\n\r\n") or rows.count(b'{"number"') == 256


@pytest.mark.parametrize("setting", ["max_streams", "max_streams_per_client"])
def test_a_stream_too_many_is_told_when_to_ask_again(
    start: StartServer, long_backend: Any, setting: str
) -> None:
    """Above the limit of streams the answer is 503; once one has ended, rows come again."""
    server = start(long_backend, **{setting: 1})
    port = server.config.port
    with connected(port, receive_buffer_bytes=4096) as slow:
        slow.sendall(ROWS_PAGE)
        assert slow.recv(1) == b"H"
        refused = sent(port, ONE_ROW)
        head = sent(port, ONE_ROW.replace(b"GET", b"HEAD"))
    ask_until(server, ONE_ROW, 200)

    assert told(refused) == ([503], "too-many-streams")
    assert b"\r\nRetry-After: 1\r\n" in refused
    assert statuses(head) == [200]


@pytest.mark.only_on("linux")
def test_one_client_cannot_have_the_streams_of_another(
    start: StartServer, long_backend: Any
) -> None:
    """Who has all streams that one address may have leaves the others theirs."""
    server = start(long_backend, max_streams_per_client=1)
    port = server.config.port
    with connected(port, receive_buffer_bytes=4096) as slow:
        slow.sendall(ROWS_PAGE)
        assert slow.recv(1) == b"H"

        assert statuses(sent(port, ONE_ROW)) == [503]
        assert statuses(sent(port, ONE_ROW, source="127.0.0.2")) == [200]


def test_streams_that_end_in_any_way_give_their_place_back(start: StartServer) -> None:
    """Read to the end, broken off, refused or asked for by HEAD: the next stream has its place."""
    server = start(max_streams=1)
    port = server.config.port
    for _ in range(3):
        assert statuses(sent(port, get(ROWS_PATH, TOKEN, LAST))) == [200]
        assert statuses(sent(port, get(f"{ROWS_PATH}?limit=x", TOKEN, LAST))) == [400]
        with connected(port) as leaving:
            leaving.sendall(ROWS_PAGE)
            leaving.recv(100)
        ask_until(server, ONE_ROW, 200)


def test_a_stream_that_fails_at_its_start_gives_its_place_back(
    make_client: Maker, backend: Any
) -> None:
    """A failure before the first byte counts as an end, too."""
    client: FlaskClient = make_client(max_streams=1)
    handle = client.post("/v1/load", json={"path": "local/rows"}).get_json()["handle"]
    backend.fails_at = 0

    assert [client.get(f"/v1/datasets/{handle}/iter").status_code for _ in range(3)] == [500] * 3


def test_a_load_too_many_is_told_when_to_ask_again(start: StartServer, backend: Any) -> None:
    """While as many loads wait as may, the next is refused; health and rows are answered."""
    opening, opened = threading.Semaphore(0), threading.Event()

    def opener(granted: Any, arguments: Any) -> Any:
        opening.release()
        assert opened.wait(TIMEOUT_S)
        return backend

    server = start(opener=opener, max_loads=1)
    port = server.config.port
    with ExitStack() as waiting:
        clients = []
        for number in range(LOAD_THREADS + 1):
            body = json.dumps({"path": "local/rows", "split": f"train[{number}:]"}).encode()
            clients.append(waiting.enter_context(connected(port)))
            clients[-1].sendall(load(body, TOKEN, LAST, length(body)))
            if number < LOAD_THREADS:
                assert opening.acquire(timeout=TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while not server._listener.task_dispatcher._loads.queue:
            assert time.monotonic() < deadline
        refused = sent(port, load(BODY, TOKEN, LAST, length(BODY)))
        healthy = sent(port, HEALTH)
        opened.set()
        answers = [received(client) for client in clients]

    assert told(refused) == ([503], "too-many-loads")
    assert b"\r\nRetry-After: " in refused
    assert [statuses(answer) for answer in (healthy, *answers)] == [[200]] * (LOAD_THREADS + 2)


@pytest.mark.parametrize("setting", ["max_connections", "max_connections_per_client"])
def test_a_connection_too_many_is_told_and_closed(start: StartServer, setting: str) -> None:
    """Above the limit a client that asks is told, one that is silent closed, and many at once."""
    server = start(**{setting: 2})
    port = server.config.port
    with ExitStack() as open_:
        silent = [open_.enter_context(connected(port)) for _ in range(2)]
        refused = sent(port, HEALTH)
        too_many = [open_.enter_context(connected(port)) for _ in range(REFUSABLE + 20)]
        for connection in too_many:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        silent[0].close()
        ask_until(server, HEALTH, 200)

    assert told(refused) == ([503], "too-many-connections")


def test_five_hundred_silent_connections_leave_health_as_it_was(start: StartServer) -> None:
    """Clients that have connected and say nothing cost nobody an answer."""
    server = start()
    with ExitStack() as silent:
        for _ in range(500):
            silent.enter_context(connected(server.config.port))

        for _ in range(10):
            assert statuses(sent(server.config.port, HEALTH)) == [200]


@pytest.mark.only_on("linux")
def test_a_thousand_connections_are_answered(start: StartServer) -> None:
    """A thousand clients that are connected at a time all get rows."""
    with ExitStack() as clients:
        clients.enter_context(open_files(8000))
        port = start().config.port
        connections = [clients.enter_context(connected(port)) for _ in range(1000)]
        for connection in connections:
            connection.sendall(ONE_ROW)
        answers = [statuses(received(connection)) for connection in connections]

    assert answers == [[200]] * 1000


def test_a_flood_of_requests_on_one_connection_waits_as_bytes(start: StartServer) -> None:
    """Of thousands of requests sent ahead a few are taken at a time, and others are answered."""
    server = start()
    count = 10_000
    with connected(server.config.port) as client:
        flood = threading.Thread(
            target=client.sendall, args=(get("/v1/health") * (count - 1) + HEALTH,)
        )
        flood.start()
        answered, most = b"", 0
        total = 0
        while data := client.recv(1 << 16):
            answered = answered[-20:] + data
            total += answered.count(b"HTTP/1.1 200 ")
            answered = (
                answered[answered.rfind(b"HTTP/1.1 200 ") + 13 :]
                if b"HTTP/1.1 200 " in answered
                else answered
            )
            channels = list(server._listener.active_channels.values())
            most = max([most, *(len(channel.requests) for channel in channels)])
        flood.join()

    assert total == count
    assert 1 <= most <= MOST_PIPELINED


@pytest.mark.parametrize("leaves", ["by reset", "by closing"])
def test_the_request_of_a_client_that_has_left_is_not_begun(
    start: StartServer, table_backend: Maker, leaves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a thread when its client leaves is never worked on."""
    backend = table_backend(100)
    asked, go_on = threading.Semaphore(0), threading.Event()
    selected: list[int] = []
    batches = backend.batches

    def slow(selection: Selection) -> Any:
        selected.append(selection.positions.start)
        asked.release()
        assert go_on.wait(TIMEOUT_S)
        return batches(selection)

    backend.batches = backend.pieces = slow
    monkeypatch.setattr("fdss.arrivals.PATIENT_S", 0.0)
    monkeypatch.setattr("fdss.arrivals.PROMPT_S", 0.0)
    server = start(backend, threads=1)
    port = server.config.port
    with connected(port) as first, connected(port) as leaver, connected(port) as last:
        first.sendall(get(f"{ROWS_PATH}?position=1", TOKEN, LAST))
        assert asked.acquire(timeout=TIMEOUT_S)
        leaver.sendall(get(f"{ROWS_PATH}?position=2", TOKEN, LAST))
        last.sendall(get(f"{ROWS_PATH}?position=3", TOKEN, LAST))
        deadline = time.monotonic() + TIMEOUT_S
        while len(server._listener.task_dispatcher._rows.queue) < 2:
            assert time.monotonic() < deadline
        if leaves == "by reset":
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        go_on.set()
        answers = [statuses(received(client)) for client in (first, last)]

    assert answers == [[200], [200]]
    assert selected == [1, 3]


@pytest.mark.parametrize("setting", LIMITS, ids=lambda setting: setting.key)
def test_every_limit_is_a_setting_with_bounds(setting: Any) -> None:
    """Each limit has a default within its bounds, and stands in the configuration."""
    smallest, largest = setting.bounds

    assert setting.default is None or smallest <= setting.default <= largest
    assert getattr(ServerConfig(no_auth=True), setting.key) == setting.default


def test_the_defaults_let_a_cluster_behind_one_address_through() -> None:
    """8 nodes of 8 ranks of 4 workers with two pages each under way fit through one ssh tunnel."""
    config = ServerConfig(no_auth=True)
    readers = 8 * 8 * 4

    assert config.max_streams_per_client >= 2 * readers
    assert config.max_streams >= 2 * readers
    assert config.max_connections_per_client >= 4 * readers
    assert config.max_loads >= 2 * readers


def test_a_place_is_given_back_once() -> None:
    """Giving a place back again takes none from anybody else."""
    quota = Quota(2, 2, kind=TooManyStreams, things="streams")
    give_back = quota.take("10.0.0.1")
    quota.take("10.0.0.2")
    give_back()
    give_back()

    assert quota.taken == 1
    quota.take("10.0.0.1")
    with pytest.raises(TooManyStreams):
        quota.take("10.0.0.3")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_a_client_is_its_address_or_its_network(address: str, client: str) -> None:
    """A host of IPv6, which has a whole network for itself, is one client."""
    assert client_of(address) == client
