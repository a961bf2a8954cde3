"""The demo, end to end: what it says is what it has done, and nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from command_line import Run

import fdss
from fdss.cli import demo
from fdss.client.session import ServerSession
from fdss.errors import FdssError, ServerUnreachable
from fdss.wire.names import HEALTH_PATH, LOCAL_PATH

ROWS = 300


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make temporary folders appear in a folder that can be looked at.

    Its path is short: workers of a DataLoader put sockets there, whose names are bounded.
    """
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        for variable in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(variable, folder)
        yield Path(folder)


def test_demo_shows_every_step(run_fdss: Run, temporary: Path) -> None:
    """The demo serves, trains, stops, resumes, and says what to type next."""
    ended = run_fdss("demo", "--rows", str(ROWS))

    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^dataset  300 rows", ended.out, re.MULTILINE)
    assert re.search(r"^server   http://127\.0\.0\.1:\d+", ended.out, re.MULTILINE)
    assert re.search(r"^train .* 300 rows in .* rows/s$", ended.out, re.MULTILINE)
    assert "every row exactly once, same order" in ended.out
    assert "fdss start --local NAME=PATH" in ended.out


def test_demo_leaves_nothing_behind(run_fdss: Run, temporary: Path, home: Path) -> None:
    """Dataset, token, handles and index are gone, and so is the server."""
    before = dict(os.environ)
    ended = run_fdss("demo", "--rows", str(ROWS))
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+", ended.out.partition("All of it worked")[0])

    assert list(temporary.iterdir()) == []
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert dict(os.environ) == before
    with pytest.raises(ServerUnreachable):
        ServerSession(url).get_json(HEALTH_PATH)


@pytest.mark.torch
def test_demo_feeds_a_dataloader(run_fdss: Run, temporary: Path) -> None:
    """Where torch is installed, the demo reads every row once through workers as well."""
    ended = run_fdss("demo", "--rows", str(ROWS))

    assert ended.code == 0
    assert re.search(r"^torch    DataLoader, 2 workers: 300 rows in ", ended.out, re.MULTILINE)


def test_user_configuration_does_not_matter(run_fdss: Run, temporary: Path, home: Path) -> None:
    """The demo runs whatever the user's configuration and environment say."""
    config = home / ".config" / "forgather" / "dataset_server" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("no_auth: true\nhost: 0.0.0.0\ncolour: red\n", "utf-8")

    assert run_fdss("demo", "--rows", str(ROWS)).code == 0


def test_taken_port_is_an_error(run_fdss: Run, temporary: Path) -> None:
    """A port that is taken is said to be, and nothing is left behind."""
    with _listening() as port:
        ended = run_fdss("demo", "--rows", str(ROWS), "--port", str(port))

    assert ended.code == 1
    assert f"Port {port}" in ended.err
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "found", [[0, 1, 1], [0, 1], [0, 1, 2, 3]], ids=["twice", "lost", "invented"]
)
def test_a_wrong_row_is_an_error(found: list[int]) -> None:
    """A row that comes twice, or not at all, makes the demo fail."""
    with pytest.raises(FdssError, match="of a dataset of 3"):
        demo._check_complete("The run", found, 3)


@pytest.mark.long
@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_kept_server_ends_with_the_demo(temporary: Path, number: int) -> None:
    """With --keep the server can be used until a signal, after which nothing is left."""
    with _kept_demo() as (process, output):
        lines = iter(output.readline, "")
        text = "".join(_until(lines, "Ctrl-C"))
        (url,) = re.findall(r"FORGATHER_DATASET_SERVER=(\S+)", text)
        (file,) = re.findall(r"\$\(cat (\S+)\)", text)
        session = ServerSession(url, token=Path(file).read_text("utf-8").strip())
        (offered,) = session.get_json(LOCAL_PATH)["local"]
        session.close()
        process.send_signal(number)
        process.wait(60)

    assert offered["name"] == "demo"
    assert process.returncode == (0 if number == signal.SIGINT else 128 + signal.SIGTERM)
    assert list(temporary.iterdir()) == []
    with pytest.raises(ServerUnreachable):
        ServerSession(url).get_json(HEALTH_PATH)


def _until(lines: Iterator[str], word: str) -> Iterator[str]:
    for line in lines:
        yield line
        if word in line:
            return
    pytest.fail(f"the demo ended without {word!r}")


@contextmanager
def _kept_demo() -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    command = [sys.executable, "-m", "fdss", "demo", "--keep", "--rows", str(ROWS)]
    environment = {**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


@contextmanager
def _listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]
