"""Several processes behind one port, as a user starts them."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import fdss
from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.shares import STALE_S, Shares

#: Windows has neither.
SIGKILL, SIGHUP = (getattr(signal, name, 0) for name in ("SIGKILL", "SIGHUP"))

pytestmark = pytest.mark.only_on("linux")

TIMEOUT_S = 180.0
TOKEN = "test-token"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
HANDLE = LoadArguments("local/big").handle
ROWS, TEXT_BYTES = 240, 1 << 17


class Running:
    """``fdss start`` in a process of its own, and the lines that it and its workers write."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        path = os.pathsep.join(
            filter(None, (environment.get("PYTHONPATH"), str(Path(fdss.__file__).parents[1])))
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fdss", "start", "--port", "0", *arguments],
            env={**os.environ, **environment, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.said: list[str] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """Return the match of the next line in which a pattern is found."""
        while (line := self._lines.get(timeout=TIMEOUT_S)) is not None:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no line about {pattern!r} in {self.said}")

    def rest(self) -> list[str]:
        """Return the lines up to the end of every process that can write any."""
        lines = []
        while (line := self._lines.get(timeout=TIMEOUT_S)) is not None:
            lines.append(line)
        return lines

    def wait_for(self, workers: int) -> None:
        """Wait until it says its URL and all of its workers are ready."""
        wanted = {"URL", *(f"worker {index}" for index in range(workers))}
        while wanted:
            found = self.line(r"dataset_server (URL): .*:(\d+)/|\[(worker \d+)\].*: ready")
            if found[1]:
                self.port = int(found[2])
            wanted -= {found[1] or found[3]}

    def pid_of(self, worker: int) -> int:
        """Return the process of the newest worker with a number."""
        pattern = rf"worker {worker} started as process (\d+)"
        return int([found[1] for line in self.said if (found := re.search(pattern, line))][-1])

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.connect()
        return connection

    def worker_of(self, connection: http.client.HTTPConnection) -> int:
        """Return the number of the worker that answers on a connection."""
        assert ask(connection, "/v1/health")["status"] == "ok"
        return int(self.line(r"\[worker (\d+)\].*GET /v1/health")[1])

    def end(self) -> None:
        """Kill what still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def ask(connection: http.client.HTTPConnection, path: str, body: Any = None) -> Any:
    """Return the JSON of an answer."""
    connection.request(
        "GET" if body is None else "POST",
        path,
        body=None if body is None else json.dumps(body),
        headers={**AUTHORIZED, "Content-Type": "application/json"},
    )
    return json.loads(connection.getresponse().read())


@pytest.fixture(scope="module")
def big_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset that fits in no socket's buffers: 240 rows of 128 KiB."""
    folder = tmp_path_factory.mktemp("big") / "saved"
    texts = [f"{row} ".ljust(TEXT_BYTES, "x") for row in range(ROWS)]
    Dataset.from_dict({"text": texts}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def start(big_folder: Path) -> Iterator[Callable[..., Running]]:
    """Return what starts a server with the big dataset; all are ended after the test."""
    with ExitStack() as ending:

        def make(*arguments: str, workers: int = 2, **environment: str) -> Running:
            running = Running(
                *("--workers", str(workers), "--local", f"big={big_folder}"),
                *("--auth-token", TOKEN, *arguments),
                **environment,
            )
            ending.callback(running.end)
            return running

        yield make


@pytest.fixture
def running(start: Callable[..., Running]) -> Running:
    """Return a server with two workers that are ready."""
    running = start()
    running.wait_for(2)
    return running


def stream(running: Running, connection: http.client.HTTPConnection) -> socket.socket:
    """Return the socket of a connection on which the whole big dataset was asked for."""
    ask(connection, "/v1/load", {"path": "local/big"})
    client: socket.socket = connection.sock
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    client.sendall(
        f"GET /v1/datasets/{HANDLE}/iter HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    return client


def rest_of(client: socket.socket) -> bytes:
    """Return what still comes on a connection, up to its end or its reset."""
    parts = []
    try:
        while part := client.recv(1 << 20):
            parts.append(part)
            if part.endswith(b"0\r\n\r\n"):
                break
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_workers_share_clients_handles_and_port(
    running: Running, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Each worker has as many clients as the other, and knows what the other has loaded."""
    connections = [running.connect() for _ in range(8)]
    by_worker = [running.worker_of(connection) for connection in connections]
    one, other = (connections[by_worker.index(worker)] for worker in (0, 1))
    loaded = ask(one, "/v1/load", {"path": "local/big"})
    listed = ask(other, "/v1/datasets")["handles"]
    length = ask(other, f"/v1/datasets/{HANDLE}/length")
    second = run_python(
        *("-m", "fdss", "start", "--workers", "2", "-l", "ERROR", "--port", str(running.port)),
        check=False,
    )
    for connection in connections:
        connection.close()

    assert sorted(by_worker) == [0] * 4 + [1] * 4
    assert [entry["handle"] for entry in listed] == [loaded["handle"]] == [HANDLE]
    assert length == {"length": ROWS}
    assert (second.returncode, second.stderr.splitlines()[0]) == (
        1,
        f"error: Port {running.port} on 127.0.0.1 is taken by another process.",
    )


def test_a_killed_worker_costs_its_clients_and_nobody_else(running: Running) -> None:
    """Its streams are cut; the sibling answers on, and another worker takes its place."""
    connections = [running.connect() for _ in range(2)]
    workers = [running.worker_of(connection) for connection in connections]
    client = stream(running, connections[0])
    os.kill(running.pid_of(workers[0]), SIGKILL)
    received = rest_of(client)
    sibling = ask(connections[1], f"/v1/datasets/{HANDLE}/length")
    running.line(rf"worker {workers[0]} ended with code -9")
    running.line(rf"worker {workers[0]} started as process")
    running.line(rf"\[worker {workers[0]}\].*: ready")
    fresh = running.connect()
    worker_of_fresh = running.worker_of(fresh)
    for connection in (*connections, fresh):
        connection.close()

    assert not received.endswith(b"0\r\n\r\n")
    assert sibling == {"length": ROWS}
    assert worker_of_fresh == workers[0]


def test_a_stopped_server_ends_what_is_under_way(start: Callable[..., Running]) -> None:
    """SIGTERM closes the port at once and lets a slow reader have its last row; exit code 0."""
    running = start("--drain-timeout", "300")
    running.wait_for(2)
    connection = running.connect()
    client = stream(running, connection)
    running.process.send_signal(signal.SIGTERM)
    received = rest_of(client)
    code = running.process.wait(TIMEOUT_S)
    connection.close()
    lines = running.rest()

    assert received.endswith(b"0\r\n\r\n")
    assert received.count(b'{"text"') == ROWS
    assert code == 0
    assert any(f"rows={ROWS} " in line for line in lines)
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_a_second_signal_cuts_and_logs_what_was_sent(start: Callable[..., Running]) -> None:
    """Who stops a server twice does not wait for clients that take their time."""
    running = start("--drain-timeout", "600")
    running.wait_for(2)
    connection = running.connect()
    client = stream(running, connection)
    running.process.send_signal(signal.SIGINT)
    while True:
        # The port is closed once the first signal has arrived.
        try:
            running.connect().close()
        except ConnectionError:
            break
    running.process.send_signal(signal.SIGINT)
    code = running.process.wait(TIMEOUT_S)
    received = rest_of(client)
    connection.close()
    (line,) = [line for line in running.rest() if "GET /v1/datasets" in line]

    assert code == 0
    assert not received.endswith(b"0\r\n\r\n")
    assert line.endswith("client left early")
    assert 0 < int(line.split("rows=")[1].split()[0]) < ROWS


def test_no_worker_outlives_its_supervisor(running: Running) -> None:
    """Even a killed supervisor leaves no process behind, and the port is free."""
    running.process.kill()
    lines = running.rest()

    assert sum("the supervisor is gone" in line for line in lines) == 2
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_workers_that_cannot_start_end_the_server(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    """When every worker dies at once, again and again, the server gives up and says so."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.orig_argv: os._exit(7)\n"
    )
    running = start(PYTHONPATH=str(tmp_path))
    lines = running.rest()

    assert running.process.wait(TIMEOUT_S) == 1
    assert "error: The workers end as soon as they have started." in lines
    assert sum("ended with code 7" in line for line in lines) == 8
    assert not any("dataset_server URL" in line for line in lines)


def test_every_worker_tells_the_load_of_all(running: Running) -> None:
    """Streams of one worker are told by the other too, until that worker dies."""
    connections = [running.connect() for _ in range(8)]
    by_worker = [running.worker_of(connection) for connection in connections]
    busy = [one for one, worker in zip(connections, by_worker, strict=True) if worker == 0][:3]
    other = connections[by_worker.index(1)]
    for connection in busy:
        stream(running, connection)
    before = ask(other, "/v1/health")["load"]["streams"]
    os.kill(running.pid_of(0), SIGKILL)
    running.line(r"\[worker 0\].*: ready")
    after = ask(other, "/v1/health")["load"]["streams"]
    for connection in connections:
        connection.close()

    assert (before, after) == (3, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_are_read_again_on_a_signal(
    start: Callable[..., Running], tmp_path: Path, big_folder: Path, workers: int
) -> None:
    """What can change does, in every worker; the rest is named; a broken file changes nothing."""
    file = tmp_path / "config.yaml"
    file.write_text("threads: 3\n")
    running = start("--config", str(file), workers=workers)
    if workers == 1:
        running.port = int(running.line(r"dataset_server URL: .*:(\d+)/")[1])
    else:
        running.wait_for(workers)
    connections = [running.connect() for _ in range(workers)]
    ask(connections[0], "/v1/load", {"path": "local/big"})

    file.write_text("threads: [\n")
    running.process.send_signal(SIGHUP)
    running.line("configuration is not reloaded, nothing changes: Config file")
    assert [ask(one, "/v1/health")["policy"]["local_count"] for one in connections] == [1] * workers

    file.write_text(f"threads: 5\nallow_paths: true\nlocal: {{again: {big_folder}}}\n")
    running.process.send_signal(SIGHUP)
    running.line("configuration reloaded; changed: allow_paths, local$|changed: local, allow_paths")
    running.line("changes of threads need a restart")
    for _ in range(workers):
        running.line("the new settings are in force")
    policies = [ask(one, "/v1/health")["policy"] for one in connections]
    handles = [ask(one, "/v1/datasets")["handles"] for one in connections]
    answer = ask(connections[-1], "/v1/load", {"path": str(big_folder)})
    for connection in connections:
        connection.close()

    assert [(one["local_count"], one["allow_paths"]) for one in policies] == [(2, True)] * workers
    assert [[entry["handle"] for entry in one] for one in handles] == [[HANDLE]] * workers
    assert answer["source"] == "path"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_ends_with_its_terminal(tmp_path: Path, workers: int) -> None:
    """SIGHUP means the end when it comes because the terminal is gone."""
    if sys.platform == "win32":
        return
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "fdss", "start", "-p", "0", "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=theirs)
    try:
        os.close(theirs)
        said = b""
        while b"dataset_server URL" not in said:
            said += os.read(ours, 1 << 16)
        os.close(ours)
        process.send_signal(SIGHUP)
        process.wait(TIMEOUT_S)
    finally:
        process.kill()


OTHER_THREAD = """
import signal, sys, threading
from fdss.cli.main import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.argv = ["fdss", "start", "-p", "0", "--workers", "2"]
main()
"""


def test_a_signal_that_interrupts_no_wait_is_heard(tmp_path: Path) -> None:
    """A signal that another thread is given, or that comes just before a wait, ends the server."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_THREAD],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        watch = threading.Timer(TIMEOUT_S, process.kill)
        watch.start()
        # The workers tell it one after another, and then nothing happens any more.
        ready = (line for line in process.stderr if "fdss.workers: ready" in line)
        assert next(ready) != next(ready)
        process.terminate()
        process.stderr.read()
        watch.cancel()

    assert process.returncode == 0


def test_several_workers_are_refused_where_they_do_not_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elsewhere than on Linux one process serves, and more are a clear error."""
    monkeypatch.setattr(sys, "platform", "win32")

    assert ServerConfig(workers=1).workers == 1
    with pytest.raises(SettingError, match="'workers' is 2; more than 1 works on Linux only"):
        ServerConfig(workers=2)


@pytest.mark.parametrize(
    ("mine", "others", "is_ahead"),
    [
        (0, [0, 0], False),
        (1, [0, 1], True),
        (1, [1, 1], False),
        (3, [-1, -1], False),
        (3, [-1, 2], True),
        (89, [80, 200], False),
        (91, [80, 200], True),
    ],
)
def test_who_has_clearly_more_clients_leaves_the_next_to_others(
    mine: int, others: list[int], is_ahead: bool
) -> None:
    """Few clients are shared out exactly, many roughly; who does not accept does not count."""
    shares = Shares.of(3, get_context("spawn"))
    for index, count in enumerate([mine, *others]):
        shares.turns[index] = time.monotonic()
        shares.counts[index] = count

    assert shares.is_ahead() is is_ahead


def test_a_worker_that_hangs_is_not_waited_for() -> None:
    """A worker whose main loop stands still gets no more clients kept for it."""
    shares = Shares.of(2, get_context("spawn"))
    shares.tell(5)
    shares.counts[1] = 0
    shares.turns[1] = time.monotonic() - STALE_S - 1

    assert not shares.is_ahead()
