"""A server in a process of its own, for as long as a command needs it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import fdss
from fdss import places
from fdss.errors import FdssError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
REMEMBERED_LINES = 20

_URL_WORDS = "dataset_server URL:"


class ChildServer:
    """``fdss start`` in a child process: one named local dataset, its own token.

    Attributes:
        url: URL the server answers at.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until the server says where it listens.

        Raises:
            FdssError: It ends instead, or says nothing within 60 seconds.
        """
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._found: queue.Queue[str | None] = queue.Queue()
        assert process.stderr is not None
        threading.Thread(target=self._read, args=(process.stderr,), daemon=True).start()
        try:
            url = self._found.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            url = None
        if url is None:
            raise FdssError(
                "The server did not start.", hint="\n".join(self._last_lines) or "it said nothing"
            )
        self.url = url

    def wait(self) -> None:
        """Wait until the server ends.

        Raises:
            FdssError: It has ended by itself.
        """
        status = self._process.wait()
        raise FdssError(
            f"The server ended by itself, with status {status}.", hint="\n".join(self._last_lines)
        )

    def _read(self, lines: IO[str]) -> None:
        """Read what the server says to its end; a full pipe would stop it."""
        for line in lines:
            self._last_lines.append(line.rstrip())
            if _URL_WORDS in line:
                self._found.put(line.partition(_URL_WORDS)[2].strip().rstrip("/"))
        self._found.put(None)


@contextmanager
def child_server(
    folder: Path, local: dict[str, Path], token_file: Path, port: int
) -> Iterator[ChildServer]:
    """Run a server for the time of a block, and remove what it keeps outside of ``folder``.

    Args:
        folder: Where it runs and keeps its files.
        local: Named local datasets.
        port: Port to listen on, 0 for any free one.

    Raises:
        FdssError: It does not start.
    """
    kept = _kept_files()
    with (
        _terminable(),
        subprocess.Popen(
            _command(folder, local, token_file, port),
            cwd=folder,
            encoding="utf-8",
            env=_child_environment(folder),
            errors="replace",
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as process,
    ):
        try:
            yield ChildServer(process)
        finally:
            _stop(process)
            for path in _kept_files() - kept:
                path.unlink(missing_ok=True)


def _command(folder: Path, local: dict[str, Path], token_file: Path, port: int) -> list[str]:
    # A configuration file of its own: the user's could say anything.
    config = folder / "config.yaml"
    config.write_text("{}\n", "utf-8")
    given = [part for name, path in local.items() for part in ("--local", f"{name}={path}")]
    return [
        *(sys.executable, "-m", "fdss", "start", *given, "--port", str(port)),
        *("--config", str(config), "--auth-token-file", str(token_file)),
    ]


def _child_environment(folder: Path) -> dict[str, str]:
    found = str(Path(fdss.__file__).parents[1])
    searched = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (found, searched))),
        "PYTHONUTF8": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


def _kept_files() -> set[Path]:
    return set(places.server_folder().glob("*.handles.json"))


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this process as an exit does, so that the child ends with it."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
