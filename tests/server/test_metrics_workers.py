"""What several workers count: every one tells the sum, and none takes its counts along."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path

import pytest
from clusters import eventually
from scraping import Expected, Scrape, scraped, settled

import fdss
from fdss.arguments import LoadArguments
from fdss.metrics.meter import Answer
from fdss.metrics.server import PREFIX
from fdss.shares import Shares

TIMEOUT_S = 180.0
TOKEN = "test-token"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
HANDLE = LoadArguments("local/rows").handle
ITER = f"/v1/datasets/{HANDLE}/iter"
ITER_TEMPLATE = "/v1/datasets/{handle}/iter"
REQUESTS = 200


@dataclass
class Workers:
    """A server of two workers, and what it has logged."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Take the lines, up to the end of the process."""
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def found(self, pattern: str) -> list[str]:
        """Return what a pattern's group found, line by line."""
        return [match[1] for line in list(self.lines) if (match := re.search(pattern, line))]

    def counted(self, pattern: str, lines: int) -> Counter[str]:
        """Return how often a pattern's group found what, once so many lines are there."""
        eventually(lambda: len(self.found(pattern)) == lines, TIMEOUT_S)
        return Counter(self.found(pattern))

    @property
    def port(self) -> int:
        """Return the port it answers on."""
        return int(self.found(r"dataset_server URL: .*:(\d+)/")[0])

    @property
    def ready(self) -> int:
        """Return how many workers were ready, dead ones included."""
        return len(self.found(r"\[worker (\d)\].*: ready"))

    def pid_of(self, worker: int) -> int:
        """Return the process of the newest worker of a number."""
        return int(self.found(rf"worker {worker} started as process (\d+)")[-1])

    def scrape(self) -> Scrape:
        """Return what any worker tells."""
        return scraped(f"http://127.0.0.1:{self.port}", TOKEN)

    def connect(self) -> HTTPConnection:
        """Return a new connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.connect()
        return connection


@pytest.fixture
def workers(sample_folder: Path) -> Iterator[Workers]:
    """Yield a server of two workers that are ready."""
    arguments = ["--workers", "2", "--port", "0", "--auth-token", TOKEN]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", "start", *arguments, "--local", f"rows={sample_folder}"],
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    started = Workers(process)
    reader = threading.Thread(target=started.read)
    reader.start()
    try:
        eventually(lambda: started.ready == 2 and started.found("(URL)"), TIMEOUT_S)
        yield started
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _asked(connection: HTTPConnection, path: str, body: str | None = None) -> int:
    """Return the bytes of an answer."""
    method = "GET" if body is None else "POST"
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    return len(connection.getresponse().read())


@pytest.mark.only_on("linux")
def test_the_sum_over_workers_is_exact_and_outlives_a_worker(workers: Workers) -> None:
    """200 pages over both workers are 200, whoever tells, and still after one was killed."""
    with ExitStack() as stack:
        connections = [workers.connect() for _ in range(8)]
        for connection in connections:
            stack.callback(connection.close)
        for connection in connections:
            _asked(connection, "/v1/load", '{"path": "local/rows"}')
        size_bytes = sum(
            _asked(connections[number % 8], f"{ITER}?limit=10&position={number}")
            for number in range(REQUESTS)
        )
        by_worker = workers.counted(rf"\[worker (\d)\].*GET {ITER} 200", REQUESTS)
        assert set(by_worker) == {"0", "1"}

        expected: list[Expected] = [
            (REQUESTS, "fdss_streams_total", {}),
            (REQUESTS, "fdss_requests_total", {"endpoint": ITER_TEMPLATE}),
            (10 * REQUESTS, "fdss_sent_rows_total", {}),
            (size_bytes, "fdss_sent_bytes_total", {"endpoint": ITER_TEMPLATE}),
            (REQUESTS, "fdss_page_rows_count", {}),
            (2, "fdss_load_seconds_count", {"outcome": "opened"}),
            (2, "fdss_open_datasets", {}),
            (2, "fdss_workers", {}),
        ]
        settled(workers.scrape, *expected)
        for seen in (workers.scrape() for _ in range(10)):
            for value, name, labels in expected:
                assert seen.sum(name, **labels) == value
    began_s = workers.scrape().sum("fdss_start_timestamp_seconds")

    os.kill(workers.pid_of(0), getattr(signal, "SIGKILL", 0))
    eventually(lambda: workers.found("worker 0 (ended) with code"), TIMEOUT_S)
    seen = workers.scrape()
    assert seen.sum("fdss_streams_total") == REQUESTS
    eventually(lambda: workers.ready == 3, TIMEOUT_S)
    eventually(lambda: workers.scrape().sum("fdss_workers") == 2, TIMEOUT_S)
    seen = workers.scrape()

    assert seen.sum("fdss_open_datasets") == 1
    assert seen.sum("fdss_start_timestamp_seconds") == began_s
    assert seen.sum("fdss_requests_total", endpoint=ITER_TEMPLATE) == REQUESTS
    assert seen.sum("fdss_sent_bytes_total", endpoint=ITER_TEMPLATE) == size_bytes


@pytest.mark.only_on("linux")
def test_streams_and_connections_of_a_killed_worker_vanish(workers: Workers) -> None:
    """What a worker had under way is not told once it is dead; what the others have is."""
    with ExitStack() as stack:
        for _ in range(6):
            connection = workers.connect()
            stack.callback(connection.close)
            assert _asked(connection, "/v1/health")
        eventually(lambda: workers.scrape().sum("fdss_connections") >= 6, TIMEOUT_S)
        mine = workers.counted(r"\[worker (\d)\].*GET /v1/health", 6)
        assert mine["0"] and mine["1"]
        os.kill(workers.pid_of(0), getattr(signal, "SIGKILL", 0))

        # Scrapes come over connections of their own, one at a time.
        eventually(
            lambda: mine["1"] <= workers.scrape().sum("fdss_connections") <= mine["1"] + 2,
            TIMEOUT_S,
        )


def test_a_worker_in_place_of_another_goes_on_counting() -> None:
    """The row of a worker keeps its counters, and loses its gauges when the worker is buried."""
    shares = Shares.of(3, get_context("spawn"))
    views = [replace(shares, index=index) for index in range(3)]
    answer = Answer(ITER_TEMPLATE, "GET", 200, "", 0.01, 0.02, 100, "")
    for view in views:
        view.meter.begin()
        view.meter.answered(answer)
        view.meter.connected(5, 2)
        view.traffic.begin()
    views[1].bury()

    sums = views[2].meter.board.sums()
    assert sums[f"{PREFIX}_requests_total", (ITER_TEMPLATE, "GET", "200")] == [3.0]
    assert sums[f"{PREFIX}_connections", ()] == [10.0]
    assert sums[f"{PREFIX}_stalled_connections", ()] == [4.0]
    assert sum(views[0].traffic.streams) == 2

    views[1].meter.begin()
    views[1].meter.answered(answer)
    sums = views[0].meter.board.sums()
    assert sums[f"{PREFIX}_requests_total", (ITER_TEMPLATE, "GET", "200")] == [4.0]
    assert sums[f"{PREFIX}_workers", ()] == [3.0]
