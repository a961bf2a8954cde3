"""Dataset servers and routers as processes of their own, which die and come back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clusters import eventually
from ports import free_port

import fdss

TOKEN = "secret"
START_TIMEOUT_S = 120.0


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that finds the fdss under test, and the test's home."""
    path = {"PYTHONPATH": str(Path(fdss.__file__).parents[1]), "PYTHONUTF8": "1"}
    return {**os.environ, **path, **variables}


class Machine:
    """The process of an ``fdss`` command on one port, killed and started again at will."""

    def __init__(
        self, log: Path, *command: str, host: str = "127.0.0.1", within: Sequence[str] = ()
    ) -> None:
        """Take what to run; nothing is started yet.

        Args:
            log: File for what it prints.
            command: Arguments of ``fdss`` but the host, the port and the token.
            host: Address to listen on.
            within: A command that runs it, such as ``ip netns exec``.
        """
        self.port = free_port()
        self.url = f"http://{host}:{self.port}"
        place = ["--host", host, "--port", str(self.port), "--auth-token", TOKEN]
        self._command = [*within, sys.executable, "-m", "fdss", *command, *place]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.kill()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=environment(), stdout=log, stderr=log, cwd=self._log.parent
            )
        eventually(self._is_up, START_TIMEOUT_S)

    def kill(self) -> None:
        """Kill it, if it runs, and wait until its port is closed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it for good."""
        self.kill()

    def _is_up(self) -> bool:
        told = self._log.read_text("utf-8")
        assert self._process is not None and self._process.poll() is None, told
        return " URL: " in told
