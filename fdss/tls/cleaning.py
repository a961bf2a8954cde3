"""Removing everything the TLS commands have made, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .folder import LOCK, TlsFolder


def clean(folder: TlsFolder) -> list[Path]:
    """Remove the files of the TLS folder, and the folder if nothing else is in it.

    Files that config.yaml places elsewhere stay.

    Returns:
        The files that were removed.
    """
    inside = [path for path in _files(folder) if path.parent in _folders(folder)]
    removed = [path for path in inside if path.is_file() or path.is_symlink()]
    for path in removed:
        path.unlink()
    for place in _folders(folder):
        with suppress(OSError):
            place.rmdir()
    return removed


def _folders(folder: TlsFolder) -> list[Path]:
    return [folder.root / "ca", folder.root / "trusted", folder.root]


def _files(folder: TlsFolder) -> list[Path]:
    named = [folder.ca_cert, folder.ca_key, folder.ca_serial, folder.server_cert]
    named += [folder.server_key, folder.bundle, folder.config_file, folder.root / LOCK]
    named += sorted(folder.trusted.glob("*.crt"))
    # What a command that was killed has left beside a file.
    left = [found for path in named for found in path.parent.glob(f".{path.name}.*")]
    return list(dict.fromkeys(named + left))
