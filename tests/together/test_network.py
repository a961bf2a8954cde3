"""A network that is cut for some time, far away or lossy costs a reader no row."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import Dataset
from machines import TOKEN, Machine, environment
from namespaces import FAR, Network, network
from relay import relay

from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, local_load

pytestmark = pytest.mark.long

ROW_BYTES = 2000
STALL_S = 1.0
#: Longer than a client waits for a byte.
CUT_S = 3 * STALL_S
TIMEOUT_S = 300.0

# Reads ahead no more than a page, so that rows are under way when a misfortune happens.
READ = """
import sys

from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, ResilientRemoteBackend, Transfer
from fdss.client.finding import OneServer
server, transfer = OneServer(sys.argv[1], sys.argv[2]), Transfer(read_ahead_bytes=1)
backend = ResilientRemoteBackend(LoadArguments("local/rows"), server, transfer=transfer)
for row in ComposableIterableDataset(backend).shuffle(seed=3, buffer_size=100):
    print(row["n"], len(row["text"]), flush=True)
"""


class Reader:
    """A client that is a process of its own, and prints the numbers of its rows."""

    def __init__(self, url: str, within: tuple[str, ...], folder: Path) -> None:
        program, log = folder / "read.py", folder / "reader.log"
        program.write_text(READ, "utf-8")
        self._errors = log.open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [*within, sys.executable, str(program), url, TOKEN],
            cwd=folder,
            env=environment(FORGATHER_DATASET_CLIENT_STALL_SECONDS=f"{STALL_S:g}"),
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def first(self, count: int) -> list[str]:
        """Return the lines of its next rows."""
        assert self._process.stdout is not None
        return list(itertools.islice(self._process.stdout, count))

    def rest(self) -> list[str]:
        """Return the lines of all other rows, after its end."""
        lines, _ = self._process.communicate(timeout=TIMEOUT_S)
        assert self._process.returncode == 0, self.log()
        return lines.splitlines(keepends=True)

    def log(self) -> str:
        """Return what it logged."""
        self._errors.seek(0)
        return self._errors.read()


def save(folder: Path, count: int) -> list[str]:
    """Save rows, and return what a reader prints that nothing befalls."""
    chance = random.Random(2)
    texts = [chance.randbytes(ROW_BYTES // 2).hex() for _ in range(count)]
    Dataset.from_dict({"n": list(range(count)), "text": texts}).save_to_disk(str(folder))
    local = ComposableIterableDataset(local_load(LoadArguments(str(folder))))
    rows = local.shuffle(seed=3, buffer_size=100)
    return [f"{row['n']} {len(row['text'])}\n" for row in rows]


def test_a_relay_that_is_cut_and_far_costs_no_row(tmp_path: Path) -> None:
    """A proxy between client and server that goes dumb for some seconds, twice, costs no row."""
    expected = save(tmp_path / "rows", 2000)
    server = Machine(tmp_path / "log", "start", f"--local=rows={tmp_path / 'rows'}")
    with contextlib.closing(server), relay(server.port) as link:
        server.start()
        link.delay_s = 0.02
        with Reader(f"http://127.0.0.1:{link.port}", (), tmp_path) as reader:
            lines = reader.first(100)
            for _ in range(2):
                link.is_open.clear()
                threading.Event().wait(CUT_S)
                link.is_open.set()
                lines += reader.first(len(expected) // 3)
            lines += reader.rest()

            assert lines == expected
            assert reader.log().count(" goes on after ") >= 1


@pytest.fixture
def hosts() -> Iterator[Network]:
    """Make two hosts in network namespaces of their own."""
    with network() as made:
        yield made


@contextlib.contextmanager
def served(log: Path, folder: Path, hosts: Network) -> Iterator[str]:
    """Serve rows at the far end, and yield the URL."""
    command = ["start", f"--local=rows={folder}", "--insecure"]
    with contextlib.closing(Machine(log, *command, host=FAR, within=hosts.far)) as server:
        server.start()
        yield server.url


@pytest.mark.only_on("linux")
def test_a_cut_network_heals_and_reads_go_on(hosts: Network, tmp_path: Path) -> None:
    """Two hosts that are cut off from each other twice, in the midst of a page, lose no row."""
    expected = save(tmp_path / "rows", 6000)
    hosts.wire.delay_s = 0.02
    with (
        served(tmp_path / "log", tmp_path / "rows", hosts) as url,
        Reader(url, hosts.near, tmp_path) as reader,
    ):
        lines = reader.first(100)
        for _ in range(2):
            hosts.wire.is_cut = True
            threading.Event().wait(CUT_S)
            hosts.wire.is_cut = False
            lines += reader.first(len(expected) // 3)
        lines += reader.rest()

        assert lines == expected
        assert reader.log().count(" goes on after ") >= 1


@pytest.mark.only_on("linux")
def test_delay_and_loss_cost_no_row(hosts: Network, tmp_path: Path) -> None:
    """Over 50 ms each way and with one packet of a hundred lost, every row arrives once."""
    expected = save(tmp_path / "rows", 1500)
    with served(tmp_path / "log", tmp_path / "rows", hosts) as url:
        hosts.wire.delay_s, hosts.wire.loss = 0.05, 0.01
        with Reader(url, hosts.near, tmp_path) as reader:
            assert reader.rest() == expected
    assert hosts.wire.lost > 0
