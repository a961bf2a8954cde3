"""Several processes under TLS: one certificate, renewed in all of them."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from certified import Certified, serial_of

import fdss

pytestmark = pytest.mark.only_on("linux")

TIMEOUT_S = 180
#: Windows has none.
SIGHUP = getattr(signal, "SIGHUP", 0)
#: As many connections reach both workers.
CONNECTIONS = 12


@dataclass
class Workers:
    """A server of two workers in processes of their own."""

    process: subprocess.Popen[str]
    port: int
    trust: ssl.SSLContext

    def serials(self) -> set[str]:
        """Return the numbers of the certificates that connections at the same time are shown."""
        connections = []
        try:
            for _ in range(CONNECTIONS):
                connection = HTTPSConnection(
                    "localhost", self.port, timeout=TIMEOUT_S, context=self.trust
                )
                connections.append(connection)
                connection.request("GET", "/v1/health")
                assert connection.getresponse().read()
            return {serial_of(one.sock) for one in connections}
        finally:
            for connection in connections:
                connection.close()

    def wait_for_others_than(self, former: set[str]) -> set[str]:
        """Return the numbers once none of the former ones is shown."""
        deadline = time.monotonic() + TIMEOUT_S
        while (found := self.serials()) & former:
            assert time.monotonic() < deadline
        return found


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    """Return an authority with a folder for what it signs."""
    return Certified(tmp_path)


@pytest.fixture
def workers(certified: Certified) -> Iterator[Workers]:
    """Yield a server of two workers."""
    identity = certified.identity()
    arguments = ["--workers", "2", "--port", "0", "-l", "ERROR"]
    pair = ["--tls-cert", str(identity.cert), "--tls-key", str(identity.key)]
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", "start", *arguments, *pair],
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    with closing(process.stderr) as lines:
        url = next(filter(None, (re.search(r"URL: https://.*:(\d+)/", line) for line in lines)))
        yield Workers(process, int(url[1]), certified.client())
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0


def test_every_worker_shows_a_fresh_certificate(workers: Workers, certified: Certified) -> None:
    """A pair that is replaced on disk is taken by both, without a restart."""
    before = workers.serials()
    certified.identity()
    after = workers.wait_for_others_than(before)

    assert (len(before), len(after)) == (1, 1)


def test_a_signal_to_reload_leaves_the_workers_serving(
    workers: Workers, certified: Certified
) -> None:
    """SIGHUP takes over a fresh certificate too, and ends nothing."""
    before = workers.serials()
    certified.identity()
    workers.process.send_signal(SIGHUP)

    assert len(workers.wait_for_others_than(before)) == 1
