"""A lock between processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that a file stands for, waiting for whoever has it.

    The file is made when it is not there, and left: removing it would give the lock to two. The
    system releases the lock of a process that dies. A file system without locks gives none, and
    Windows gives up after 10 seconds: what is done under the lock must not break without it.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            with suppress(OSError):
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # This releases it, too.
        os.close(descriptor)
