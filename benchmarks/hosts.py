"""The processes of a cluster that are killed, stopped and started again: servers, router, Redis."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import fdss

START_TIMEOUT_S = 60.0
#: Below those that systems give to outgoing connections.
PORTS = (10_000, 32_000)
RETRY_S = 0.05


def free_port() -> int:
    """Return a port that is free now, and that no outgoing connection is given meanwhile."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a machine with a home of its own."""
    folders = {"XDG_CONFIG_HOME": str(home / "config"), "XDG_CACHE_HOME": str(home / "cache")}
    # A child has to find the same fdss, installed or not.
    return {**os.environ, **folders, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}


class Host:
    """A process on a port of its own, which ends and comes back.

    Attributes:
        name: For the log.
        port: Where it answers, the same after every start.
    """

    def __init__(self, name: str, port: int, command: Sequence[str], home: Path) -> None:
        """Start it, and wait until its port answers."""
        self.name = name
        self.port = port
        self._command = [*command]
        self._environment = environment(home)
        self._log = home / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.wait()

    @classmethod
    def of_fdss(cls, name: str, port: int, arguments: Sequence[str], home: Path) -> Host:
        """Return the process of an ``fdss`` command that takes ``--port``."""
        command = [sys.executable, "-m", "fdss", *arguments, "--port", str(port)]
        return cls(name, port, command, home)

    def start(self) -> None:
        """Start it, if it does not run."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=log, stderr=log
                )

    def wait(self) -> None:
        """Wait until its port answers.

        Raises:
            RuntimeError: It has ended, or says nothing for a minute.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(RETRY_S)
        raise RuntimeError(f"{self.name} does not answer:\n{self._log.read_text('utf-8')[-2000:]}")

    def end(self, number: signal.Signals) -> None:
        """End it by a signal, and wait until its port is free."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        """End it for good, whatever state it is in."""
        self.signal(signal.SIGCONT)
        self.end(signal.SIGKILL)

    def said(self, pattern: str) -> list[str]:
        """Return what a pattern finds in its log."""
        return re.findall(pattern, self._log.read_text("utf-8", "replace"))


class Lines:
    """The lines that a process prints, read as they come."""

    def __init__(self, stream: IO[str]) -> None:
        """Read in a thread of its own."""
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._is_over = False
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until so many lines have come, or no more do; return whether they have."""
        with self._came:
            self._came.wait_for(lambda: len(self.lines) >= count or self._is_over, timeout_s)
            return len(self.lines) >= count

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._came:
                self.lines.append(line)
                self._came.notify_all()
        with self._came:
            self._is_over = True
            self._came.notify_all()
