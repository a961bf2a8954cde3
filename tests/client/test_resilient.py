"""What a job tries again, how often, and what it takes as the last word."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from raw_server import RawServer, Request, StartServer, response

from fdss.arguments import LoadArguments
from fdss.client import ResilientRemoteBackend
from fdss.client.finding import OneServer
from fdss.client.patience import Outages, Patience
from fdss.errors import (
    DatasetDamaged,
    FdssError,
    OutageTooLong,
    ServerUnreachable,
    SettingError,
)

#: Pauses that a test can wait for.
QUICK = Patience(first_s=0.01, longest_s=0.05)


def resilient(url: str) -> ResilientRemoteBackend:
    """Return a backend of a server."""
    return ResilientRemoteBackend(
        LoadArguments("local/rows"), OneServer(url, "secret"), patience=QUICK
    )


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        ("FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS", ("soon", "-1", "nan")),
        ("FORGATHER_DATASET_CLIENT_STALL_SECONDS", ("soon", "0", "nan", "inf")),
    ],
)
def test_seconds_that_are_no_number_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, wrong: tuple[str, ...]
) -> None:
    """What is no number of seconds in the environment is refused before anything is sent."""
    for text in wrong:
        monkeypatch.setenv(variable, text)
        with pytest.raises(SettingError, match=variable):
            Patience.from_environment()
    monkeypatch.setenv(variable, " 5.5 ")

    assert 5.5 in (Patience.from_environment().most_s, Patience.from_environment().stall_s)


def test_a_server_without_a_byte_is_lost(start_server: StartServer) -> None:
    """After the stall time a silent server is asked how it is, and a load is asked for again."""
    asked = iter(range(1))

    def respond(request: Request, connection: socket.socket) -> None:
        if next(asked, None) is None:
            connection.sendall(response(json.dumps(LOADED).encode()))

    server: RawServer = start_server(respond)
    patience = replace(QUICK, stall_s=3.0)
    loading = ResilientRemoteBackend(
        LoadArguments("local/rows"), OneServer(server.url, "secret"), patience=patience
    )

    assert len(loading) == 3
    paths = [request.path for request in server.requests]
    assert paths == ["/v1/load", "/v1/health", "/v1/load"]


def test_pauses_are_spread() -> None:
    """The pauses of 64 clients that failed together are spread over the whole of a rising bound."""
    patience = Patience()
    for tries, bound_s in ((1, 0.5), (2, 1.0), (5, 8.0), (7, 30.0), (1000, 30.0)):
        pauses = sorted(patience.pause_s(tries) for _ in range(640))
        assert 0.0 <= pauses[0] < bound_s / 10
        assert bound_s * 0.9 < pauses[-1] <= bound_s
        assert bound_s * 0.4 < pauses[320] < bound_s * 0.6


LOADED: dict[str, object] = {
    "handle": "h",
    "length": 3,
    "fingerprint": "f" * 64,
    "column_names": ["n"],
    "features": {"n": {"dtype": "int64", "_type": "Value"}},
}


def failing(
    times: int, status: str, body: dict[str, object], headers: dict[str, str] | None = None
) -> Callable[[Request, socket.socket], None]:
    """Return what a server does that fails so many times before it loads."""
    left = iter(range(times))

    def respond(request: Request, connection: socket.socket) -> None:
        fails = next(left, None) is not None
        told = json.dumps(body if fails else LOADED).encode()
        failed = response(told, status=status, headers=headers)
        connection.sendall(failed if fails else response(told))

    return respond


BUSY: dict[str, object] = {"error": "busy", "code": "unavailable", "hint": ""}
DAMAGED: dict[str, object] = {"error": "damaged", "code": "dataset-damaged", "hint": ""}


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("503 Busy", BUSY, {"Retry-After": "0"}),
        ("429 Too Many Requests", {}, {"Retry-After": "0"}),
        ("502 Bad Gateway", {}, None),
        ("504 Gateway Timeout", {}, None),
        ("500 Failed", {}, None),
        ("404 Gone", {"error": "?", "code": "unknown-handle", "hint": ""}, None),
    ],
)
def test_what_can_pass_is_tried_again(
    start_server: StartServer, status: str, body: dict[str, object], headers: dict[str, str] | None
) -> None:
    """A server that is busy, or a gateway without one behind it, is asked again."""
    server: RawServer = start_server(failing(3, status, body, headers))

    assert len(resilient(server.url)) == 3
    assert len(server.requests) == 4


def test_a_server_that_always_fails_is_given_up(start_server: StartServer) -> None:
    """A server that answers with 500 again and again is given up, with its own message."""
    server: RawServer = start_server(failing(100, "500 Failed", DAMAGED))
    with pytest.raises(DatasetDamaged, match="damaged"):
        len(resilient(server.url))

    assert 2 < len(server.requests) < 20


@pytest.mark.parametrize("status", ["400 Bad", "403 Forbidden", "415 No", "412 Changed"])
def test_what_cannot_pass_is_not_tried_again(start_server: StartServer, status: str) -> None:
    """A refusal is raised after one request."""
    server: RawServer = start_server(failing(100, status, {"error": "never", "code": "?"}))
    with pytest.raises(FdssError, match="never"):
        len(resilient(server.url))

    assert len(server.requests) == 1


def test_a_failure_behind_a_long_outage_is_not_the_end(start_server: StartServer) -> None:
    """Failures are counted by themselves, and anew once rows have come."""
    left = iter([*["502 Bad"] * 10, "500 Failed"])

    def respond(request: Request, connection: socket.socket) -> None:
        status = next(left, "200 OK")
        body = {"200 OK": LOADED, "500 Failed": DAMAGED}.get(status, {})
        connection.sendall(response(json.dumps(body).encode(), status=status))

    assert len(resilient(start_server(respond).url)) == 3


@pytest.mark.long
def test_a_silent_server_does_not_outlast_the_cap(start_server: StartServer) -> None:
    """What a try waits for counts, and a try waits no longer than the job may."""
    server = start_server(lambda request, connection: None)
    patience = replace(QUICK, most_s=0.5, stall_s=600.0)
    backend = ResilientRemoteBackend(
        LoadArguments("local/rows"), OneServer(server.url, "secret"), patience=patience
    )
    begun_s = time.monotonic()
    with pytest.raises(OutageTooLong):
        len(backend)

    assert 0.4 < time.monotonic() - begun_s < patience.stall_s


def test_a_busy_server_is_waited_for_at_the_start(start_server: StartServer) -> None:
    """The first load waits for a server that is busy, and fails at once where none answers."""
    server = start_server(failing(2, "503 Busy", BUSY, {"Retry-After": "0"}))
    backend = resilient(server.url)
    backend.connect()

    assert len(backend) == 3
    with pytest.raises(ServerUnreachable):
        resilient("http://127.0.0.1:1").connect()


def test_a_bad_link_does_not_fill_the_log(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble that comes and goes within a minute is told once."""
    outages = Outages(QUICK, "Dataset")
    with caplog.at_level(logging.WARNING, "fdss.client"):
        for _ in range(20):
            outages.wait(ServerUnreachable("cut"))
            outages.end("there")
            outages.flow()

    assert len(caplog.messages) == 2
