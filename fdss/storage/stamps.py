"""What tells that a file is still the file it was: size and time of last change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import DatasetNotFound


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was looked at.

    Attributes:
        path: Absolute path.
        size: Bytes.
        mtime_ns: Time of last change, nanoseconds since the epoch.
    """

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Return the stamp of a file as it is now.

        Raises:
            OSError: The file is not there.
        """
        found = path.stat()
        return cls(os.path.abspath(path), found.st_size, found.st_mtime_ns)

    @property
    def is_fresh(self) -> bool:
        """Tell whether the file is still as it was."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return found.st_size == self.size and found.st_mtime_ns == self.mtime_ns

    @property
    def name(self) -> str:
        """Return the base name, all that a message to a client may tell."""
        return os.path.basename(self.path)


@dataclass(frozen=True)
class Place:
    """Where the message of a record batch lies: in a file, from an offset on, of some bytes.

    Attributes:
        rows: Rows of the batch.
        number: Of the batch in its table.
    """

    stamp: Stamp
    offset: int
    length: int
    rows: int
    number: int


@dataclass(frozen=True)
class Sources:
    """The files that a dataset was prepared from, as they were then.

    Attributes:
        roots: Files, and folders whose files are sources.
        key: 16 hex digits that change when a source changes, comes or goes.
    """

    roots: tuple[Path, ...]
    key: str

    @classmethod
    def of(cls, roots: Iterable[Path]) -> Sources:
        """Return the sources at ``roots`` as they are now; what cannot be read is left out."""
        known = tuple(roots)
        return cls(known, stamps_key(stamp for root in known for stamp in _stamps_under(root)))

    @property
    def is_fresh(self) -> bool:
        """Tell whether no source changed, came or went."""
        return Sources.of(self.roots).key == self.key


def stamps_of(paths: Sequence[Path]) -> tuple[Stamp, ...]:
    """Return the stamps of files as they are now.

    Raises:
        DatasetNotFound: One is not there.
    """
    try:
        return tuple(Stamp.of(path) for path in paths)
    except OSError as exc:
        name = Path(exc.filename or paths[0]).name
        raise DatasetNotFound(f"File {name!r} of the dataset cannot be found.") from exc


def stamps_key(stamps: Iterable[Stamp]) -> str:
    """Return 16 hex digits that change when any path, size or time does."""
    digest = hashlib.sha256()
    for stamp in stamps:
        digest.update(f"{stamp.path}\0{stamp.size}\0{stamp.mtime_ns}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:16]


def paths_key(paths: Iterable[str]) -> str:
    """Return 16 hex digits that name a list of paths."""
    text = "\n".join(paths)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _stamps_under(root: Path) -> list[Stamp]:
    """Return the stamps of a file, or of every file in a folder that is not hidden, sorted."""
    found = [_stamp_or_none(path) for path in sorted(_files_under(root))]
    return [stamp for stamp in found if stamp is not None]


def _files_under(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _stamp_or_none(path: Path) -> Stamp | None:
    try:
        return Stamp.of(path)
    except OSError:
        return None
