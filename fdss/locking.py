"""A lock between processes."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How long somebody who may be stopped waits between two attempts.
ATTEMPT_S = 0.05
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def locked(path: Path, stopping: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock that a file stands for, waiting for whoever has it.

    The file is made when it is not there, and left: removing it would give the lock to two. The
    system releases the lock of a process that dies. A file system without locks gives none, and
    Windows gives up after 10 seconds: what is done under the lock must not break without it.

    Args:
        stopping: Once it is set, the lock is waited for no longer, and not held.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if stopping is None:
            with suppress(OSError):
                _lock(descriptor, waits=True)
        else:
            while _is_held(descriptor) and not stopping.wait(ATTEMPT_S):
                pass
        yield
    finally:
        # This releases it, too.
        os.close(descriptor)


def _is_held(descriptor: int) -> bool:
    """Take the lock if it is free; return whether somebody else has it."""
    try:
        _lock(descriptor, waits=False)
    except OSError as error:
        return error.errno in _HELD
    return False


def _lock(descriptor: int, *, waits: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
