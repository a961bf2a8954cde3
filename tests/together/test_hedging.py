"""A slow server's first rows are asked for a second time, elsewhere, and come once."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from datasets import Dataset

import fdss
from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, ResilientRemoteBackend, hedging
from fdss.client.finding import Found, OneServer
from fdss.errors import FdssError, SettingError

pytestmark = [pytest.mark.long, pytest.mark.only_on("linux")]

#: Windows has neither.
SIGSTOP, SIGCONT = (getattr(signal, name, 0) for name in ("SIGSTOP", "SIGCONT"))

ROWS = 5000
ARGUMENTS = LoadArguments("local/rows")
TOKEN = "secret"


class Both:
    """Says the first server first, then the second, then the first again."""

    can_choose = True

    def __init__(self, *urls: str) -> None:
        self.urls = urls
        self.asked = 0

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return the next."""
        url = self.urls[self.asked % len(self.urls)]
        self.asked += 1
        return Found(url, TOKEN, url)

    def suspect(self, found: Found) -> None:
        """Do nothing."""

    def refuse(self, found: Found, error: FdssError) -> None:
        """Do nothing."""


class Host:
    """A server in a process of its own, which can be stopped and continued."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fdss", "start", "--port", "0", "--auth-token", TOKEN]
            + ["--local", f"rows={folder}"],
            env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self.process.stderr is not None
        line = next(line for line in self.process.stderr if "dataset_server URL" in line)
        self.url = line.split("URL: ")[1].strip().rstrip("/")
        self._reader = threading.Thread(target=self.process.stderr.read)
        self._reader.start()

    def close(self) -> None:
        """Kill it, whether it is stopped or not."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a dataset, and one of as many rows of which the last is another."""
    folder = tmp_path_factory.mktemp("hedging")
    texts = [f"row {n} " + "x" * 400 for n in range(ROWS)]
    for name, last in (("same", texts[-1]), ("other", "another")):
        Dataset.from_dict({"n": list(range(ROWS)), "text": [*texts[:-1], last]}).save_to_disk(
            str(folder / name)
        )
    return folder / "same", folder / "other"


@pytest.fixture
def hosts(home: Path, folders: tuple[Path, Path]) -> Iterator[list[Host]]:
    """Yield two servers with the same rows and one with others."""
    with ExitStack() as stack:
        started = []
        for folder in (folders[0], folders[0], folders[1]):
            started.append(Host(folder))
            stack.callback(started[-1].close)
        yield started


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Forget how long first pages took."""
    hedging._first_pages_s.clear()
    yield
    hedging._first_pages_s.clear()


def shuffled(backend: ResilientRemoteBackend) -> list[int]:
    """Return the numbers of all rows, shuffled."""
    return [row["n"] for row in ComposableIterableDataset(backend).shuffle(seed=3)]


def backend_of(finder: Both | OneServer, hedge: bool | None = True) -> ResilientRemoteBackend:
    """Return a backend that is connected."""
    backend = ResilientRemoteBackend(ARGUMENTS, finder, hedge=hedge)
    backend.connect()
    return backend


def test_a_stopped_server_costs_a_second_and_no_row(hosts: list[Host]) -> None:
    """While the first server is stopped the second one's rows come, each once, in order."""
    backend = backend_of(Both(hosts[0].url, hosts[1].url))
    # However slow this machine is, nobody else is asked yet.
    hedging._first_pages_s[hosts[0].url] = deque([600.0] * hedging.LEAST_SAMPLES)
    undisturbed = shuffled(backend)
    hedging._first_pages_s.clear()
    hosts[0].process.send_signal(SIGSTOP)
    begun_s = time.monotonic()
    seen = shuffled(backend)

    assert seen == undisturbed
    assert sorted(seen) == list(range(ROWS))
    assert time.monotonic() - begun_s >= hedging.UNKNOWN_S
    assert backend.url == hosts[1].url
    assert not any(thread.name == "fdss-hedge" for thread in _alive_after(60))


def _alive_after(within_s: float) -> list[threading.Thread]:
    for thread in threading.enumerate():
        if thread.name == "fdss-hedge":
            thread.join(within_s)
    return threading.enumerate()


def test_a_fast_server_is_asked_alone(hosts: list[Host]) -> None:
    """A first page that comes in time asks nobody else, and the server stays."""
    finder = Both(hosts[0].url, hosts[1].url)
    hedging._first_pages_s[hosts[0].url] = deque([600.0] * hedging.LEAST_SAMPLES)
    backend = backend_of(finder)

    assert shuffled(backend) == shuffled(backend)
    assert (finder.asked, backend.url) == (1, hosts[0].url)


def test_whoever_wins_rows_are_exact(hosts: list[Host]) -> None:
    """With a hedge at every beginning, ten passes give the same rows whoever wins them."""
    backend = backend_of(Both(hosts[0].url, hosts[1].url))
    undisturbed = shuffled(backend)
    for _ in range(10):
        for host in hosts[:2]:
            hedging._first_pages_s[host.url] = deque([0.0] * hedging.LEAST_SAMPLES)
        assert shuffled(backend) == undisturbed


def test_other_rows_never_win(hosts: list[Host]) -> None:
    """A second server with one row changed is not read, however long the first one takes."""
    backend = backend_of(Both(hosts[0].url, hosts[2].url))
    undisturbed = shuffled(backend)
    hosts[0].process.send_signal(SIGSTOP)
    wake = threading.Timer(2.5, hosts[0].process.send_signal, [SIGCONT])
    wake.start()

    assert shuffled(backend) == undisturbed
    assert backend.url == hosts[0].url
    wake.join()


def test_one_server_is_never_hedged(hosts: list[Host]) -> None:
    """A job that names its server reads from no other, and waits."""
    backend = backend_of(OneServer(hosts[0].url, TOKEN))
    undisturbed = shuffled(backend)
    hosts[0].process.send_signal(SIGSTOP)
    wake = threading.Timer(1.5, hosts[0].process.send_signal, [SIGCONT])
    wake.start()

    assert shuffled(backend) == undisturbed
    assert not hedging._first_pages_s
    wake.join()


def test_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off unless the variable says 1; anything but 0 and 1 is refused; copies keep it."""
    finder = Both("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert not ResilientRemoteBackend(ARGUMENTS, finder)._hedges
    monkeypatch.setenv(hedging.VARIABLE, "1")
    backend = ResilientRemoteBackend(ARGUMENTS, finder)
    assert backend._hedges
    assert not ResilientRemoteBackend(ARGUMENTS, finder, hedge=False)._hedges
    assert not pickle.loads(
        pickle.dumps(ResilientRemoteBackend(ARGUMENTS, OneServer("http://x:1")))
    )._hedges
    monkeypatch.setenv(hedging.VARIABLE, "yes")
    with pytest.raises(SettingError, match="neither 0 nor 1"):
        ResilientRemoteBackend(ARGUMENTS, finder)


def test_patience_is_the_95th_percentile() -> None:
    """Below twenty pages it is a second; then what 95 % of the last 200 pages took at most."""
    for number in range(19):
        hedging.note("a", number / 1000)
    assert hedging.patience_s("a") == hedging.UNKNOWN_S
    for number in range(1000):
        hedging.note("a", number / 1000)

    assert hedging.patience_s("a") == pytest.approx(0.99)
    assert hedging.patience_s("b") == hedging.UNKNOWN_S
