"""Links in a served folder: they may lead to other files of it, and nowhere else.

A folder that was unpacked from an archive, or that others may write to, could otherwise make a
server read any file of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fdss.errors import Forbidden

_SNAPSHOTS = "snapshots"
_BLOBS = "blobs"


def check_links(folder: Path, dataset: str) -> None:
    """Refuse a folder in which a link leads out, or in which a pipe or a device stands.

    The folder itself may be a link: it is what the operator named. A snapshot in the cache of the
    Hub may lead to the files of its own repository.

    Args:
        dataset: What the message calls the dataset.

    Raises:
        Forbidden: There is such an entry; the message names it.
    """
    if not folder.is_dir():
        return
    roots = tuple(_spelled(root) for root in _roots(folder))
    for entry in _entries(folder):
        if _is_link(entry):
            place = _spelled(os.path.realpath(entry.path))
            if not any(place == root or place.startswith(root + os.sep) for root in roots):
                raise _refused(dataset, entry, folder, "a link that leads out of it")
        elif not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            raise _refused(dataset, entry, folder, "no regular file")


def _roots(folder: Path) -> Iterator[str]:
    own = os.path.realpath(folder)
    yield own
    above = Path(own).parent
    if above.name == _SNAPSHOTS and (above.parent / _BLOBS).is_dir():
        yield os.path.realpath(above.parent / _BLOBS)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all that lies in a folder and below; links are not gone into."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False) and not _is_link(entry):
                        waiting.append(entry.path)
        except PermissionError:
            # What this process cannot list, it cannot serve.
            continue


def _is_link(entry: os.DirEntry[str]) -> bool:
    is_junction = getattr(entry, "is_junction", None)
    return entry.is_symlink() or (is_junction is not None and is_junction())


def _refused(dataset: str, entry: os.DirEntry[str], folder: Path, what: str) -> Forbidden:
    name = Path(entry.path).relative_to(folder).as_posix()
    return Forbidden(
        f"Dataset {dataset!r} holds {name[:200]!r}, which is {what}.",
        hint="put the files themselves into the folder, or start the server with --follow-links",
    )


def _spelled(path: str) -> str:
    return os.path.normcase(path)
