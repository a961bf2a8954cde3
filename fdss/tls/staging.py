"""Files that belong together and are replaced together."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fdss.files import make_private, write_whole

PRIVATE = 0o600
PUBLIC = 0o644


@dataclass(frozen=True)
class File:
    """A file to put at a path: its content, and its mode where there are modes."""

    path: Path
    content: bytes
    mode: int = PUBLIC


def replace_together(files: Sequence[File], removed_first: Iterable[Path] = ()) -> None:
    """Put files at their paths, in their order; readers never find two that do not match.

    Everything is on the disk before the first old file goes. A certificate that does not match
    the key beside it is worse than none: name the certificates in ``removed_first``, and put
    each behind its key, so that a process that dies in between leaves a certificate missing.

    Raises:
        OSError: A folder cannot be written; nothing was changed.
    """
    staged = [(file, _beside(file.path)) for file in files]
    aside: list[tuple[Path, Path]] = []
    try:
        for file, fresh in staged:
            _stage(file, fresh)
        for path in removed_first:
            kept = _beside(path)
            with suppress(FileNotFoundError):
                os.replace(path, kept)
                aside.append((path, kept))
        os.replace(staged[0][1], staged[0][0].path)
    except BaseException:
        # An interruption can come right after the first file is in its place.
        if staged[0][1].exists():
            _put_back(aside)
        _remove_rest(staged, aside)
        raise
    try:
        for file, fresh in staged[1:]:
            os.replace(fresh, file.path)
    finally:
        _remove_rest(staged, aside)


def _stage(file: File, fresh: Path) -> None:
    if not file.path.parent.is_dir():
        make_private(file.path.parent)
    write_whole(fresh, [file.content], durable=True)
    fresh.chmod(file.mode)


def _put_back(aside: list[tuple[Path, Path]]) -> None:
    for path, kept in aside:
        os.replace(kept, path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _remove_rest(staged: list[tuple[File, Path]], aside: list[tuple[Path, Path]]) -> None:
    for path in (*(fresh for _, fresh in staged), *(kept for _, kept in aside)):
        with suppress(OSError):
            path.unlink()
