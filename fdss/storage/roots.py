"""Where the media files of a dataset may be read.

Rows of a dataset may name any file: whoever wrote them decides. Only files among those that the
dataset itself consists of are read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import ContentChanged
from fdss.files import open_regular


@dataclass(frozen=True)
class MediaRoots:
    """Files and folders whose files may be read.

    Attributes:
        followed: Absolute paths of this machine's operator, whose links are followed wherever
            they lead.
        closed: Resolved paths, whose links are followed as long as they lead to another of them.
    """

    followed: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, followed: Iterable[Path] = (), closed: Iterable[Path] = ()) -> MediaRoots:
        """Return the roots at some paths, which need not exist."""
        own = tuple(followed)
        resolved = {_spelled(os.path.realpath(path)) for path in own}
        spelled = {_spelled(os.path.abspath(path)) for path in own}
        others = {_spelled(os.path.realpath(path)) for path in closed}
        return cls(frozenset(spelled | resolved), frozenset(resolved | others))

    def place(self, path: str) -> str | None:
        """Return where the file at an absolute path is to be read; None if it may not be."""
        if not os.path.isabs(path) or "\0" in path or "::" in path:
            return None
        if ".." not in _parts(path) and self._is_within(os.path.abspath(path), self.followed):
            return path
        if path.startswith(("//", "\\\\")):
            # To resolve the path of a share is to log in at its host.
            return None
        resolved = os.path.realpath(path)
        return resolved if self._is_within(resolved, self.closed) else None

    def size_bytes(self, place: str) -> int:
        """Return the size of a file.

        Raises:
            OSError: It is no file, or is not there.
        """
        found = os.stat(place)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("no regular file")
        return found.st_size

    def read(self, place: str) -> bytes:
        """Return the whole content of a file.

        Raises:
            ContentChanged: It was written to while it was read.
            OSError: It cannot be read, or is no regular file.
        """
        with open_regular(place) as file:
            before = os.fstat(file.fileno())
            content = file.read()
            after = os.fstat(file.fileno())
        if _written(before) != _written(after) or len(content) != after.st_size:
            raise ContentChanged(f"File {os.path.basename(place)!r} was changed while it was read.")
        return content

    @staticmethod
    def _is_within(path: str, roots: frozenset[str]) -> bool:
        return any(folder in roots for folder in _ancestors(_spelled(path)))


def _written(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _spelled(path: str) -> str:
    return os.path.normcase(path)


def _parts(path: str) -> list[str]:
    return os.path.normcase(path).split(os.sep)


def _ancestors(path: str) -> Iterator[str]:
    """Yield a path and every folder above it."""
    yield path
    while (folder := os.path.dirname(path)) != path:
        path = folder
        yield path
