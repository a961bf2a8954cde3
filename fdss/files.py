"""Files that are written whole or not at all, and read no further than they should be."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

# Windows would otherwise write line ends of its own.
_BINARY: int = getattr(os, "O_BINARY", 0)
# Opening a pipe without a writer would otherwise wait for one.
_NEVER_WAITING: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_PRIVATE_FOLDER = 0o700
_OTHERS = 0o077


class Content(NamedTuple):
    """What a file held, and what it was when it was read."""

    data: bytes
    found: os.stat_result


def write_whole(path: Path, parts: Iterable[bytes], *, durable: bool = False) -> None:
    """Put a file of mode 0600 at a path, in place of one that is there.

    Whoever reads it sees the old content or the new, and two writers never mix theirs.

    Args:
        parts: The content, piece by piece.
        durable: Wait until the disk has it, so that it also outlives a loss of power.

    Raises:
        OSError: The folder cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        raise


def read_regular(path: Path, most_bytes: int) -> Content:
    """Return the content of a regular file, links followed, without ever waiting for it.

    What the file is, is asked of the open file: it cannot be another one by then.

    Raises:
        OSError: It is not there, is no regular file, or has more than ``most_bytes``.
    """
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes", str(path))
    return Content(data, found)


@contextlib.contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a regular file, links followed, open for reading, without ever waiting for it.

    Raises:
        OSError: It is not there, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | _BINARY | _NEVER_WAITING)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter, and the folders above it that are missing.

    Windows keeps no such modes; there the profile folder is what protects it.

    Raises:
        OSError: It cannot be made, or is another user's.
    """
    missing = [place for place in folder.parents if not place.exists()]
    for place in (*reversed(missing), folder):
        place.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    if os.name == "posix" and folder.stat().st_mode & _OTHERS:
        folder.chmod(_PRIVATE_FOLDER)


def is_foreign(found: os.stat_result) -> bool:
    """Return whether a file is neither this user's nor the system's; never true on Windows."""
    return sys.platform != "win32" and found.st_uid not in (os.geteuid(), 0)
