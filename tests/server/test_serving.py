"""A server on a real port: what it binds, what becomes of streams, how it ends."""

from __future__ import annotations

import http.client
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

import fdss
from fdss import places, tokens
from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.policy import Grant
from fdss.serving import Server

Maker = Callable[..., Any]
HANDLE = LoadArguments("local/rows").handle
TIMEOUT_S = 60


class _Lines(logging.Handler):
    """Hands over log lines as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.queue.put(record.getMessage())

    def next_about(self, text: str) -> str:
        """Return the next line that has a text in it."""
        while True:
            line = self.queue.get(timeout=TIMEOUT_S)
            if text in line:
                return line


@pytest.fixture
def lines() -> Iterator[_Lines]:
    """Return the lines that fdss and waitress log from here on."""
    handler = _Lines()
    loggers = [logging.getLogger("fdss"), logging.getLogger("waitress")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


@contextmanager
def _serving(config: ServerConfig, backend: Any) -> Iterator[Server]:
    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    with Server(replace(config, port=0), opener=opener) as server:
        server.catalog.load(LoadArguments("local/rows"))
        yield server


def _asked(server: Server, target: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.config.port), timeout=TIMEOUT_S)
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
    )
    return connection


def _json(server: Server, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        server.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return json.load(response)


def test_an_existing_client_reads_every_row(config: ServerConfig, backend: Any) -> None:
    """The first version's client works: urllib, load, length, iter without a limit, by lines."""
    with _serving(config, backend) as server:
        loaded = _json(server, "/v1/load", {"path": "local/rows", "split": "train"})
        length = _json(server, f"/v1/datasets/{loaded['handle']}/length")["length"]
        request = urllib.request.Request(
            f"{server.url}/v1/datasets/{loaded['handle']}/iter?position=40",
            headers={"Authorization": f"Bearer {server.token}"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            numbers = [json.loads(line)["number"] for line in response]

    assert length == 100
    assert numbers == list(range(40, 100))


def test_a_short_response_keeps_the_connection(config: ServerConfig, backend: Any) -> None:
    """A body of known size says so, and the next request goes over the same connection."""
    headers = {"Authorization": "Bearer test-token"}
    with _serving(config, backend) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.config.port, timeout=TIMEOUT_S)
        used = []
        for position in (0, 50):
            path = f"/v1/datasets/{HANDLE}/iter?position={position}"
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            assert response.headers["Content-Length"] == str(len(response.read()))
            used.append(connection.sock)
        connection.close()

    assert used[0] is used[1]


def test_a_client_that_leaves_is_logged_with_the_rows_it_was_sent(
    config: ServerConfig, table_backend: Maker, lines: _Lines
) -> None:
    """Leaving early is normal: one line, no traceback, and nothing stays open."""
    rows = 2000
    backend = table_backend(rows, text_bytes=1 << 16)
    with _serving(config, backend) as server:
        connection = _asked(server, f"/v1/datasets/{HANDLE}/iter")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.close()
        line = lines.next_about("GET /v1/datasets")

    assert line.endswith("client left early")
    sent = int(line.split("rows=")[1].split()[0])
    assert 0 < sent < rows
    assert backend.released == ["batches"]


def test_a_failure_amid_the_rows_cuts_the_connection(
    config: ServerConfig, table_backend: Maker, lines: _Lines
) -> None:
    """The chunked end is missing, so no client takes what it got for everything."""
    backend = table_backend(2000, text_bytes=1 << 12, fails_at=1500)
    with _serving(config, backend) as server:
        connection = _asked(server, f"/v1/datasets/{HANDLE}/iter")
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        connection.close()
        logged = [lines.next_about("rows failed after"), lines.next_about("GET /v1/datasets")]

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Transfer-Encoding: chunked" in received
    assert not received.endswith(b"0\r\n\r\n")
    assert logged[1].endswith("cut: internal")
    assert "secret" not in received.decode()
    assert backend.released == ["batches"]
    assert lines.queue.empty()


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /" + b"x" * (1 << 18) + b" HTTP/1.1\r\n\r\n", 414, "url-too-long"),
        (b"POST /v1/load HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413, "body-too-large"),
        (b"POST /v1/load HTTP/1.1\r\nContent-Length: ten\r\n\r\n", 400, "bad-request"),
        (b"this is no HTTP\r\n\r\n", 400, "bad-request"),
    ],
)
def test_what_is_no_request_is_refused_in_json(
    config: ServerConfig, backend: Any, request_: bytes, status: int, code: str
) -> None:
    """Also what never reaches the application is answered in the one shape of errors."""
    with (
        _serving(config, backend) as server,
        socket.create_connection(("127.0.0.1", server.config.port), timeout=TIMEOUT_S) as client,
    ):
        client.sendall(request_)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    head, _, body = received.partition(b"\r\n\r\n")

    assert head.split()[1] == str(status).encode()
    assert b"Content-Type: application/json" in head
    assert (json.loads(body)["code"], set(json.loads(body))) == (code, {"error", "code", "hint"})


def test_a_taken_port_is_one_clear_sentence(config: ServerConfig, backend: Any) -> None:
    """The second server on a port says so, and changes nothing of the first one's."""
    with _serving(replace(config, auth_token=None), backend) as server:
        kept = tokens.read(places.token_file(server.config.port))
        second = replace(config, port=server.config.port, auth_token=None, regen_token=True)
        with pytest.raises(SettingError, match="is taken by another process") as caught:
            Server(second)
        assert tokens.read(places.token_file(server.config.port)) == kept == server.token

    assert "--port" in caught.value.hint


def test_a_port_can_be_taken_again_at_once(config: ServerConfig, backend: Any) -> None:
    """A restart need not wait for connections of before."""
    known = replace(config, port=free_port())
    with Server(known) as server:
        _json(server, "/v1/datasets")
    with Server(known) as again:
        assert _json(again, "/v1/auth/status") == {"auth_required": True}


def test_handles_and_token_survive_a_restart(config: ServerConfig, backend: Any) -> None:
    """A client of before goes on with its handle and its token."""

    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    minted = replace(config, auth_token=None, port=free_port())
    with Server(minted, opener=opener) as first:
        handle = _json(first, "/v1/load", {"path": "local/rows"})["handle"]
    with Server(minted, opener=opener) as second:
        length = _json(second, f"/v1/datasets/{handle}/length")

    assert length == {"length": 100}
    assert second.token == first.token


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "[::1]"])
def test_loopback_hosts_are_served_at_their_url(config: ServerConfig, host: str) -> None:
    """The URL of a server works as it stands, IPv6 addresses included."""
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Server(replace(config, host=host, port=0)) as server:
        assert _json(server, "/v1/health")["status"] == "ok"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_no_own_is_one_clear_sentence(config: ServerConfig, host: str) -> None:
    """A host that is not known, or not this machine's, cannot be listened on."""
    with pytest.raises(SettingError, match="not known|Cannot listen"):
        Server(replace(config, host=host, port=0, insecure=True))


def test_every_thread_is_gone_after_the_end(config: ServerConfig, table_backend: Maker) -> None:
    """Closing a server releases its threads, also those whose client does not read."""
    before = set(threading.enumerate())
    backend = table_backend(5000, text_bytes=1 << 16)
    with _serving(config, backend) as server:
        stalled = _asked(server, f"/v1/datasets/{HANDLE}/iter")
        assert stalled.recv(100)
    stalled.close()

    assert set(threading.enumerate()) <= before
    assert backend.released == ["batches"]


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT and SIGTERM end with exit code 0, and leave the token file for the next run."""
    with _started(tmp_path, "--port", "0") as (child, banner):
        file = Path(banner["persisted token file"])
        child.send_signal(number)
        assert child.wait(TIMEOUT_S) == 0

    assert tokens.read(file) == banner["dataset_server auth token"]


@pytest.mark.only_on("linux", "darwin")
def test_a_signal_lets_a_running_response_end(config: ServerConfig, table_backend: Maker) -> None:
    """What is under way when a server is told to stop is still sent."""
    rows = 400
    backend = table_backend(rows, text_bytes=1 << 16)

    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    server = Server(replace(config, port=0), opener=opener)
    server.catalog.load(LoadArguments("local/rows"))
    thread = threading.Thread(target=server.run, kwargs={"drain_s": TIMEOUT_S})
    thread.start()
    connection = _asked(server, f"/v1/datasets/{HANDLE}/iter")
    received = connection.recv(1 << 16)
    server.stop()
    received += b"".join(iter(lambda: connection.recv(1 << 20), b""))
    connection.close()
    thread.join(TIMEOUT_S)

    assert received.endswith(b"0\r\n\r\n")
    assert received.count(b'"number"') == rows


def test_a_second_signal_cuts_what_is_still_sent(
    config: ServerConfig, table_backend: Maker
) -> None:
    """Who stops a server twice does not wait for clients that take their time."""
    backend = table_backend(5000, text_bytes=1 << 16)

    def opener(granted: Grant, arguments: LoadArguments) -> Any:
        return backend

    server = Server(replace(config, port=0), opener=opener)
    server.catalog.load(LoadArguments("local/rows"))
    thread = threading.Thread(target=server.run, kwargs={"drain_s": 600})
    thread.start()
    stalled = _asked(server, f"/v1/datasets/{HANDLE}/iter")
    assert stalled.recv(100)
    server.stop()
    server.stop()
    thread.join(TIMEOUT_S)
    stalled.close()

    assert not thread.is_alive()
    assert backend.released == ["batches"]


@pytest.mark.only_on("linux", "darwin")
def test_a_kept_token_that_others_may_read_is_made_private(
    config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The file's mode is mended, and the log says that the token may be known."""
    minted = replace(config, auth_token=None, port=free_port())
    with Server(minted) as first:
        file = places.token_file(first.config.port)
    file.chmod(0o644)
    with Server(minted) as second:
        assert second.token == first.token

    assert file.stat().st_mode & 0o777 == 0o600
    assert "--regen-token" in caplog.text


@pytest.mark.only_on("linux", "darwin")
def test_a_low_limit_of_open_files_is_raised(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A server asks for as many files as it may have, says so, and holds at least 1,000 clients."""
    code = (
        "import logging, resource\n"
        "from fdss.descriptors import most_connections, raise_limit\n"
        "logging.basicConfig(level='INFO')\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "hard = min(hard, 4096)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "raise_limit()\n"
        "print(hard, resource.getrlimit(resource.RLIMIT_NOFILE)[0], most_connections())\n"
    )
    result = run_python("-c", code)
    hard, soft, connections = map(int, result.stdout.split())

    assert soft == hard
    assert connections >= min(1000, hard // 2)
    assert f"limit of open files raised from 256 to {hard}" in result.stderr


def test_timeouts_of_the_settings_are_those_of_the_server(
    config: ServerConfig, table_backend: Maker, lines: _Lines
) -> None:
    """A client that takes nothing is cut after stall_timeout; the log tells what it was sent."""
    backend = table_backend(2000, text_bytes=1 << 16)
    hasty = replace(config, stall_timeout=1, idle_timeout=1)
    with _serving(hasty, backend) as server:
        stalled = _asked(server, f"/v1/datasets/{HANDLE}/iter")
        with socket.create_connection(("127.0.0.1", server.config.port), TIMEOUT_S) as idle:
            assert idle.recv(1) == b""
        lines.next_about("a client took no byte for")
        line = lines.next_about("GET /v1/datasets")
        stalled.close()

    assert line.endswith("client left early")
    assert 0 < int(line.split("rows=")[1].split()[0]) < 2000


@contextmanager
def _started(
    folder: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-m", "fdss", "start", *arguments],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    banner: dict[str, str] = {}
    try:
        assert child.stderr is not None
        for line in child.stderr:
            key, _, value = line.rstrip("\n").partition(": ")
            banner[key] = value
            if key == "dataset_server URL":
                break
        yield child, banner
    finally:
        child.kill()
        child.communicate()
