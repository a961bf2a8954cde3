"""A program in a terminal of its own: what it shows there, and signals at the right moment."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fdss

TIMEOUT_S = 120.0
ROWS, COLUMNS = 24, 120


class Terminal:
    """A program whose errors, and if wanted its output, go to a terminal.

    Attributes:
        shown: What the terminal was sent so far.
    """

    def __init__(self, process: subprocess.Popen[str], descriptor: int) -> None:
        """Take a program and this end of its terminal."""
        self.process = process
        self.shown = ""
        self._descriptor = descriptor

    def wait_for(self, pattern: str) -> None:
        """Return once the terminal shows a pattern; fail if the program ends before."""
        while not re.search(pattern, self.shown):
            assert self._read(), f"{pattern!r} was never shown: {self.shown}"

    def end(self) -> tuple[int, str]:
        """Return the exit code, and what it has written to a standard output that is a pipe."""
        output: list[str] = []
        pipe = self.process.stdout
        reader = threading.Thread(target=lambda: output.append(pipe.read() if pipe else ""))
        reader.start()
        while self._read():
            pass
        reader.join()
        return self.process.wait(), output[0]

    def _read(self) -> bool:
        try:
            found = os.read(self._descriptor, 1 << 16)
        except OSError:
            # So Linux tells that the other end is closed.
            return False
        self.shown += found.decode(errors="replace")
        return bool(found)


@contextmanager
def fdss_in_terminal(*arguments: str, is_output_there: bool = False) -> Iterator[Terminal]:
    """Run ``fdss`` with a terminal until the end of the block; on POSIX only.

    Args:
        is_output_there: Whether standard output is the terminal, too, and not a pipe.
    """
    if sys.platform == "win32":
        raise NotImplementedError("Windows has no such terminals.")
    import fcntl
    import pty
    import termios

    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
        stdin=subprocess.DEVNULL,
        stdout=far if is_output_there else subprocess.PIPE,
        stderr=far,
        encoding="utf-8",
    )
    os.close(far)
    watch = threading.Timer(TIMEOUT_S, process.kill)
    watch.start()
    try:
        yield Terminal(process, near)
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        os.close(near)
