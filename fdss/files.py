"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

# Windows would otherwise write line ends of its own.
_BINARY: int = getattr(os, "O_BINARY", 0)


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
