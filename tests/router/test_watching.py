"""What the router notices of servers that are slow, killed, started again, or not there yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import HASTY, Client, MakePeer, Route, Serve, eventually, register

import fdss
from fdss.router.loops import Loop
from fdss.router.names import INVENTORY_PATH, SERVERS_PATH
from fdss.router.watching import Rhythm


@pytest.mark.long
def test_slow_server_delays_no_other(route: Route, peer: MakePeer) -> None:
    """While one server keeps every question waiting, the others are asked as often as ever."""
    slow, sound = peer(cached=("a/b",)), peer(cached=("a/b",))
    client = route(rhythm=Rhythm(health_s=0.05, refresh_s=0.1, health_timeout_s=600.0))
    eventually(lambda: client.knows(2))
    slow.silent.clear()
    before = len(sound.asked)

    # Far more than fit into the time that the slow one may take.
    eventually(lambda: len(sound.asked) >= before + 50)

    assert client.chosen("a/b") in (slow.url, sound.url)
    slow.silent.set()


def test_slow_server_does_not_keep_the_router_cold(route: Route, peer: MakePeer) -> None:
    """A server that never answers holds the first answer up for two seconds at most."""
    slow, sound = peer(), peer(cached=("a/b",))
    slow.silent.clear()
    client = route(rhythm=Rhythm(health_timeout_s=600.0))

    eventually(lambda: client.resolve("a/b").status_code == 200)

    assert client.chosen("a/b") == sound.url
    slow.silent.set()


def test_name_is_not_gone_while_a_server_is_silent(route: Route, peer: MakePeer) -> None:
    """What a server that was never heard has is not known: 503 with its address, not 410."""
    slow = peer()
    slow.silent.clear()
    peer(cached=("a/b",))
    client = route()
    client.chosen("a/b")

    answer = client.resolve("x/y")

    assert (answer.status_code, slow.url in answer.json()["detail"]) == (503, True)
    slow.silent.set()
    eventually(lambda: client.resolve("x/y").status_code == 410)


def test_server_that_times_out_is_down(route: Route, peer: MakePeer) -> None:
    """A server that does not answer in time is told as down, with the reason and the counts."""
    slow = peer()
    client = route(rhythm=HASTY)
    eventually(lambda: client.knows(1))
    slow.silent.clear()

    eventually(lambda: not _server(client)["healthy"])

    told = _server(client)
    assert told["last_health_error"] == "no answer in time"
    assert told["health_checks"]["consecutive_failed"] >= 1
    slow.silent.set()
    eventually(lambda: _server(client)["healthy"])


def test_answer_that_never_ends_is_cut(route: Route, peer: MakePeer) -> None:
    """A server that answers without end costs the router bounded memory, and counts as down."""
    endless = peer()
    client = route()
    eventually(lambda: client.knows(1))
    endless.answers["/v1/health"] = {"status": "x" * (33 << 20)}

    eventually(lambda: "bytes" in str(_server(client)["last_health_error"]))


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
@pytest.mark.only_on("linux", "darwin")
def test_killed_server_disappears_and_comes_back(
    route: Route, home: Path, small_folder: Path, number: str
) -> None:
    """A process that is killed or stopped is chosen no more, and again once it answers."""
    with _process(small_folder) as (first, url), _process(small_folder) as (_, other_url):
        client = route(rhythm=HASTY)
        eventually(lambda: client.knows(2))
        # Whoever was slow once comes last for a while.
        eventually(lambda: {client.chosen("local/s") for _ in range(20)} == {url, other_url})

        os.kill(first.pid, getattr(signal, number))

        eventually(lambda: _healthy(client) == {other_url})
        assert {client.chosen("local/s") for _ in range(20)} == {other_url}
        if number == "SIGSTOP":
            os.kill(first.pid, signal.Signals["SIGCONT"])
            eventually(lambda: client.knows(2))


def test_last_server_down_is_no_end(route: Route, home: Path, small_folder: Path) -> None:
    """When all servers are down the answer is 503 with Retry-After, also for unknown names."""
    with _process(small_folder) as (process, url):
        client = route()
        client.chosen("local/s")
        process.kill()
        eventually(lambda: not _server(client)["healthy"])

        answers = [client.resolve(path) for path in ("local/s", "local/never-seen")]

        assert [(a.status_code, a.headers["Retry-After"]) for a in answers] == [(503, "2")] * 2
        assert url in answers[0].json()["detail"]


def test_server_that_is_down_keeps_its_names_waiting_and_no_others(
    route: Route, serve: Serve, home: Path, small_folder: Path, other_folder: Path
) -> None:
    """While one server is down, 503 is for the names that it had; any other name is a 410."""
    serve(other=other_folder)
    with _process(small_folder) as (process, url):
        client = route()
        eventually(lambda: client.knows(2))
        process.kill()
        eventually(lambda: client.knows(1))

        answers = {name: client.resolve(f"local/{name}") for name in ("s", "typo", "other")}

    assert {name: a.status_code for name, a in answers.items()} == {
        "s": 503,
        "typo": 410,
        "other": 200,
    }
    assert url in answers["s"].json()["detail"]


def test_suspected_server_is_checked_at_once(route: Route, home: Path, small_folder: Path) -> None:
    """A killed server that one client names is known to be down long before its next check."""
    with _process(small_folder) as (first, url), _process(small_folder) as (_, other_url):
        client = route(rhythm=Rhythm(health_s=3600.0, health_timeout_s=60.0))
        eventually(lambda: client.knows(2))
        client.chosen("local/s")
        ids = {s["base_url"]: s["server_id"] for s in client.get(SERVERS_PATH).json()["servers"]}
        first.kill()
        first.wait()

        answer = client.resolve("local/s", exclude=ids[url])

        assert answer.json()["base_url"] == other_url
        eventually(lambda: client.knows(1))


def test_removed_server_leaves(route: Route, serve: Serve, small_folder: Path) -> None:
    """A server removed from the registry is chosen no more, though it runs on."""
    from fdss.router.names import registry_file
    from fdss.router.registry import Registry

    stays, goes = serve(s=small_folder), serve(s=small_folder)
    client = route()
    eventually(lambda: client.knows(2))

    Registry(registry_file()).remove(goes.url)

    eventually(lambda: client.knows(1))
    assert {client.chosen("local/s") for _ in range(10)} == {stays.url}


def test_registry_that_breaks_loses_nobody(
    route: Route, serve: Serve, small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A registry that cannot be read is reported, and the servers known so far stay."""
    from fdss.router.names import registry_file

    server = serve(s=small_folder)
    client = route()
    client.chosen("local/s")

    registry_file().write_text("{broken", "utf-8")

    eventually(lambda: client.get(INVENTORY_PATH).json()["last_servers_collect_error"])
    assert client.chosen("local/s") == server.url
    assert "cannot be understood" in caplog.text and str(registry_file()) in caplog.text
    assert str(registry_file()) not in client.get(INVENTORY_PATH).text
    register(server.url, server.token)
    assert registry_file().with_name(registry_file().name + ".corrupt").exists()
    eventually(lambda: not client.get(INVENTORY_PATH).json()["last_servers_collect_error"])


def test_token_that_changes_is_used(route: Route, serve: Serve, small_folder: Path) -> None:
    """A server registered with a wrong token works once the right one is registered."""
    server = serve(registered=False, s=small_folder)
    register(server.url, "wrong")
    client = route()
    eventually(lambda: "401" in str(_server(client).get("last_dataset_error")))

    register(server.url, server.token)

    assert client.chosen("local/s") == server.url
    assert client.resolve("local/s").json()["auth_token"] == server.token


def test_loop_outlives_a_turn_that_fails() -> None:
    """A turn that fails is logged, and the loop takes the next one when it is woken."""
    turns: list[int] = []

    def turn() -> float:
        turns.append(len(turns))
        if len(turns) == 1:
            raise KeyError("unforeseen")
        return 3600.0

    loop = Loop("test", turn)
    loop.start()
    eventually(lambda: len(turns) == 1)

    loop.wake()

    eventually(lambda: len(turns) >= 2)
    loop.stop()
    loop.join(60.0)


def _healthy(client: Client) -> set[str]:
    servers = client.get(SERVERS_PATH).json()["servers"]
    return {server["base_url"] for server in servers if server["healthy"]}


def _server(client: Client) -> dict[str, Any]:
    (found,) = client.get(SERVERS_PATH).json()["servers"] or [{"healthy": None}]
    return dict(found)


@contextmanager
def _process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a dataset server in a process of its own, in the registry."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    command = ["start", "--port", "0", "--auth-token", "secret", "--local", f"s={folder}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", *command],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("dataset_server URL"))
        url = line.split()[-1].rstrip("/")
        register(url, "secret")
        yield process, url
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
