"""What a server tells of its load: streams under way, and bytes sent lately, of all workers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import requests
from clusters import eventually
from flask.testing import FlaskClient

from fdss.arguments import LoadArguments
from fdss.catalog import Catalog, Entry
from fdss.config import ServerConfig
from fdss.errors import DatasetDamaged
from fdss.serving import Server
from fdss.shares import Shares
from fdss.traffic import STEP_BYTES, WINDOW_S, Traffic

ARGUMENTS = LoadArguments("local/rows")
ITER = f"/v1/datasets/{ARGUMENTS.handle}/iter"
IDLE = {"streams": 0, "bytes_per_s": 0}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_bytes_count_for_ten_seconds() -> None:
    """What was sent counts as a tenth of it a second, and no longer than ten seconds."""
    clock = Clock()
    traffic = replace(Traffic.of(), now_s=clock)
    rates = []
    for second in range(3 * WINDOW_S):
        clock.seconds = 1000.5 + second
        if second < 2 * WINDOW_S:
            traffic.add(7 * STEP_BYTES)
        rates.append(traffic.as_json()["bytes_per_s"] / STEP_BYTES)

    assert rates[WINDOW_S : 2 * WINDOW_S] == [7.0] * WINDOW_S
    assert rates[:WINDOW_S] == sorted(rates[:WINDOW_S])
    assert rates[2 * WINDOW_S :] == sorted(rates[2 * WINDOW_S :], reverse=True)
    assert rates[-1] == 0


def test_the_rate_is_told_in_steps() -> None:
    """A stranger sees whole MiB a second, which no single small page changes."""
    traffic = Traffic.of()
    traffic.add(STEP_BYTES)

    assert traffic.as_json() == IDLE


def test_every_worker_tells_the_sum_of_all() -> None:
    """Whichever worker is asked, the answer is of all; a worker that starts anew has no streams."""
    shares = Shares.of(3, get_context("spawn"))
    views = [replace(shares, index=index).traffic for index in range(3)]
    end = views[0].begin()
    views[1].begin()
    views[2].begin()
    views[2].add(WINDOW_S * STEP_BYTES)

    assert [view.as_json() for view in views] == [{"streams": 3, "bytes_per_s": STEP_BYTES}] * 3

    end()
    views[1].clear()

    assert views[0].as_json()["streams"] == 1


@pytest.fixture
def busy(table_backend: Callable[..., Any], tmp_path: Path) -> Server:
    """Return a server of rows that fit into no socket's buffers."""
    backend = table_backend(256, 1 << 17)
    config = ServerConfig(port=0, no_auth=True, local={"rows": tmp_path})
    return Server(config, opener=lambda granted, arguments: backend)


def _load(server: Server) -> Any:
    return requests.get(f"{server.url}/v1/health", timeout=60).json()["load"]


def test_health_tells_streams_and_bytes(busy: Server) -> None:
    """Streams whose clients do not read are under way until they are closed; settings keep them."""
    with busy as server, ExitStack() as stack:
        server.catalog.load(ARGUMENTS)
        assert _load(server) == IDLE
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.config.port)))
            for _ in range(3)
        ]
        for client in clients:
            client.sendall(f"GET {ITER} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(lambda: _load(server)["streams"] == 3)
        server.call(lambda: server.apply(server.config))
        clients.pop().close()
        eventually(lambda: _load(server)["streams"] == 2)
        answer = requests.get(f"{server.url}{ITER}", timeout=60)

        assert len(answer.content) > 1 << 25
        assert _load(server)["bytes_per_s"] > 0
        assert requests.head(f"{server.url}{ITER}", timeout=60).ok
        assert requests.get(f"{server.url}{ITER}?limit=x", timeout=60).status_code == 400
        for client in clients:
            client.close()
        eventually(lambda: _load(server)["streams"] == 0)


def test_a_stream_that_fails_at_once_is_over(
    make_client: Callable[..., FlaskClient], backend: Any
) -> None:
    """An error in the first rows leaves no stream counted."""
    client = make_client()
    client.post("/v1/load", json={"path": "local/rows"})
    backend.fails_at = 0

    assert client.get(ITER).status_code == 500
    assert client.get("/v1/health").get_json()["load"]["streams"] == 0


def test_the_list_tells_the_content(backend: Any, tmp_path: Path) -> None:
    """A line of the list has the fingerprint, unless the files changed since they were opened."""
    catalog = Catalog(
        ServerConfig(no_auth=True, local={"rows": tmp_path}),
        opener=lambda granted, arguments: backend,
    )
    entry = catalog.load(ARGUMENTS)
    assert entry.as_listed()["fingerprint"] == backend.fingerprint

    backend.stale = True

    assert "fingerprint" not in entry.as_listed()


def test_one_damaged_dataset_does_not_spoil_the_list(backend: Any) -> None:
    """A dataset whose rows cannot be read is listed without a fingerprint."""

    class Damaged(type(backend)):  # type: ignore[misc]
        @property
        def fingerprint(self) -> str:
            raise DatasetDamaged("Its file is cut.")

        @fingerprint.setter
        def fingerprint(self, value: str) -> None:
            pass

    line = Entry(ARGUMENTS, "local", Damaged(backend.table)).as_listed()

    assert set(line) == {"handle", "length", "source", "load_args"}
