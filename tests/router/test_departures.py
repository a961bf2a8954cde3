"""Servers that leave the membership and come back: a reboot, and a restart of the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from clusters import Client, Redis, Route, Serve, eventually
from ports import free_port

import fdss
from fdss.router.announcing import announce
from fdss.router.membership import Member
from fdss.router.names import INVENTORY_PATH
from fdss.router.redis_members import server_key

CLUSTER = "rack"

pytestmark = pytest.mark.only_on("linux", "darwin")


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_only_server_of_a_name_may_start_anew(
    redis_server: Redis,
    route: Route,
    serve: Serve,
    small_folder: Path,
    other_folder: Path,
    number: str,
) -> None:
    """Its names are a 503 while it is away, goodbye or not, and it serves them when it is back."""
    stays = serve(registered=False, other=other_folder)
    client = route(membership=redis_server.url, cluster=CLUSTER)
    port = free_port()
    with announce(redis_server.url, CLUSTER, Member(stays.url, stays.token or "")):
        with _process(redis_server, small_folder, port) as (process, url):
            eventually(lambda: client.knows(2))
            assert client.chosen("local/s") == url
            process.send_signal(getattr(signal, number))
            process.wait()
        _expire(redis_server, url)
        eventually(lambda: _left(client) == {url})

        answer, unknown = client.resolve("local/s"), client.resolve("local/typo")

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert url in answer.json()["detail"]
        assert unknown.status_code == 410
        with _process(redis_server, small_folder, port):
            assert client.chosen("local/s") == url
            assert _left(client) == set()


def _left(client: Client) -> set[str]:
    return {server["base_url"] for server in client.get(INVENTORY_PATH).json()["departed"]}


def _expire(running: Redis, url: str) -> None:
    """Let the key of a server end before its ten seconds are over."""
    with redis.Redis.from_url(running.url) as connection:
        connection.pexpire(server_key(CLUSTER, Member(url).server_id), 1)


@contextmanager
def _process(
    running: Redis, folder: Path, port: int
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a dataset server in a process of its own, which writes itself into the Redis."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    command = ["start", "--port", str(port), "--auth-token", "secret", "--local", f"s={folder}"]
    joined = ["--cluster", CLUSTER, "--membership", running.url]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", *command, *joined],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("dataset_server URL"))
        yield process, line.split()[-1].rstrip("/")
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
