"""The examples of the two use cases: a workstation behind a tunnel, and ranks of a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from clusters import FAST, eventually, register
from machines import TOKEN, Machine, environment
from ssh import running_sshd

from fdss.client.cluster import URL_VARIABLE
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.pages import READ_AHEAD_VARIABLE
from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.serving import RouterServer
from fdss.serving import Server

pytestmark = [pytest.mark.only_on("linux", "darwin"), pytest.mark.torch]

EXAMPLES = Path(__file__).parents[1] / "examples"
RANK = Path(__file__).with_name("rank.py")
TIMEOUT_S = 300.0

# 60 MB, more than the sockets on the way hold.
ROWS = 6000
ROW_BYTES = 10_000
BATCH_ROWS = 50


@pytest.fixture(autouse=True)
def _little_is_read_ahead(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what breaks be missed."""
    monkeypatch.setenv(READ_AHEAD_VARIABLE, str(1 << 20))


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a saved dataset with the columns of ``fdss demo``."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("demo") / "saved"
    Dataset.from_dict(
        {
            "id": range(ROWS),
            "text": ["x" * (ROW_BYTES - row % 7) for row in range(ROWS)],
            "label": [row % 5 for row in range(ROWS)],
            "score": [row / ROWS for row in range(ROWS)],
        }
    ).save_to_disk(str(folder))
    return folder


class Run:
    """An example that trains on the demo's columns, in a process of its own."""

    def __init__(
        self, folder: Path, name: str, *options: str, launcher: Sequence[str] = (), path: str = ""
    ) -> None:
        self.ids = folder / "ids"
        self._log = (folder / f"{name}.log").open("w+b")
        small = ("--batch-rows", str(BATCH_ROWS), "--epochs=1", "--workers=0", "--save-every=17")
        self._process = subprocess.Popen(
            [
                *(sys.executable, *launcher, str(EXAMPLES / f"{name}.py")),
                *(*small, *options, "--ids", str(self.ids)),
            ],
            cwd=folder,
            env={**environment(), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def steps(self) -> list[tuple[int, list[int]]]:
        """Return the step and the ids of each batch that is noted so far."""
        if not self.ids.exists():
            return []
        whole = self.ids.read_text("utf-8").rpartition("\n")[0]
        return [(line["step"], line["ids"]) for line in map(json.loads, whole.splitlines())]

    def has_made(self, steps: int) -> bool:
        """Return whether so many steps are noted."""
        assert self._process.poll() is None or len(self.steps()) >= steps, self.told()
        return len(self.steps()) >= steps

    def told(self) -> str:
        """Return what it has printed and logged."""
        return Path(self._log.name).read_text("utf-8")

    def end(self) -> str:
        """Wait for its end, and return what it has printed and logged."""
        with self._log:
            status = self._process.wait(TIMEOUT_S)
        assert status == 0, self.told()
        return self.told()


def assert_every_row_once(*parts: list[tuple[int, list[int]]]) -> None:
    ids = [id for part in parts for _, batch in part for id in batch]
    assert sorted(ids) == list(range(ROWS))


def test_a_workstation_behind_a_tunnel_that_breaks(
    demo_folder: Path, home: Path, tmp_path: Path
) -> None:
    """The loop outlives its tunnel, and a second run goes on from the checkpoint of the first."""
    sshd, bin, first, second = (tmp_path / name for name in ("sshd", "bin", "first", "second"))
    for folder in (sshd, bin, first, second):
        folder.mkdir()
    tunnels = tmp_path / "tunnels"
    with (
        Server(ServerConfig(port=0, local={"demo": demo_folder})) as server,
        running_sshd(sshd, home) as ssh,
    ):
        program = bin / "ssh"
        noting = f'[ "$1" != -N ] || echo $$ >> {tunnels}'
        program.write_text(f"#!/bin/sh\n{noting}\nexec {ssh.client('datahost')}\n", "utf-8")
        program.chmod(0o755)
        there = ("datahost", "--port", server.url.rpartition(":")[2])
        checkpoint = ("--checkpoint", str(tmp_path / "checkpoint.pt"))

        run = Run(first, "workstation", *there, *checkpoint, "--stop-after=95", path=str(bin))
        eventually(lambda: run.has_made(1), TIMEOUT_S)
        os.kill(int(tunnels.read_text("utf-8")), signal.SIGTERM)
        told = run.end()
        again = Run(second, "workstation", *there, *checkpoint, path=str(bin))
        resumed = again.end()

    assert "goes on after" in told
    assert len(tunnels.read_text("utf-8").split()) == 3
    assert "resumed behind step 85\n" in resumed
    assert_every_row_once(run.steps()[:85], again.steps())


def test_ranks_of_a_cluster_outlive_their_server(
    demo_folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks that the router has sent to one server go on at another, and then as more ranks."""
    first, second = tmp_path / "first", tmp_path / "second"
    serve = ("start", "--local", f"demo={demo_folder}")
    for folder in (first, second):
        folder.mkdir()
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    checkpoint = ("--checkpoint", str(tmp_path / "checkpoint.pt"))
    with (
        contextlib.closing(Machine(tmp_path / "one.log", *serve)) as one,
        contextlib.closing(Machine(tmp_path / "other.log", *serve)) as other,
        RouterServer(RouterConfig(ServerConfig(port=0)), FAST) as router,
    ):
        monkeypatch.setenv(SERVER_VARIABLE, "auto")
        monkeypatch.setenv(URL_VARIABLE, router.url)
        one.start()
        other.start()
        register(one.url, TOKEN)
        launcher = (*ranks, "2", str(RANK))
        run = Run(first, "ddp_loop", *checkpoint, "--stop-after=55", launcher=launcher)
        eventually(lambda: run.has_made(1), TIMEOUT_S)
        one.kill()
        register(other.url, TOKEN)
        told = run.end()
        launcher = (*ranks, "3", str(RANK))
        again = Run(second, "ddp_loop", *checkpoint, launcher=launcher)
        again.end()

    assert told.count("goes on after") == 2
    assert_every_row_once([batch for batch in run.steps() if batch[0] <= 51], again.steps())
