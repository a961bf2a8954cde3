"""Prepared copies of rows, and the notes that tell what each was prepared from.

The copies of a folder lie beside one another for as long as no file of the folder changes. A note
is named for a question (how data files were spelled) or for what it comes to (the files), so that
a question asked again needs no ``datasets``, and one spelled anew no second copy.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

from fdss.files import write_whole

from .prepared import Found, prepared_splits, read_info
from .stamps import Sources, paths_key, stamps_of

_NOTE_END = ".json"
_NAMES = {"name", "data_dir", "data_files"}


def meaning_of(builder: Any, files: Mapping[str, tuple[Path, ...]]) -> Any:
    """Return what a copy depends on: the builder, its settings, the files and their stamps."""
    settings = {
        field.name: repr(getattr(builder.config, field.name))
        for field in fields(builder.config)
        if field.name not in _NAMES
    }
    stamps = [[split, *map(astuple, stamps_of(found))] for split, found in files.items()]
    # Files that are not on this machine have no stamps: what they are called has to do.
    return [builder.name, settings, stamps or repr(builder.config.data_files)]


def note_name(about: Any) -> str:
    """Return the name of the note about something that JSON can carry."""
    return f"{paths_key([json.dumps(about, sort_keys=True)])}{_NOTE_END}"


def kept_copy(note: Path, sources: Sources) -> Found | None:
    """Return what an earlier call prepared from the same sources, if a note tells of it."""
    try:
        told = json.loads(note.read_bytes())
        found = replace(prepared_at(note.parent / told["folder"], told["name"]), sources=sources)
        # What was used last is kept longest.
        os.utime(note)
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_copy(note: Path, folder: Path, name: str) -> None:
    """Note that a dataset is prepared in ``folder``."""
    told = {"folder": os.path.relpath(folder, note.parent), "name": name}
    write_whole(note, [json.dumps(told).encode()])


def drop_older(home: Path) -> None:
    """Remove what was prepared from sources that changed since."""
    for other in home.parent.iterdir():
        if other.name != home.name:
            shutil.rmtree(other, ignore_errors=True)


def drop_unused(home: Path, most: int) -> None:
    """Remove all but the copies that were used last, and all but the latest notes of each.

    Args:
        most: Most copies that are kept, and most notes for each of them.
    """
    known = sorted(home.glob(f"*{_NOTE_END}"), key=_used_ns, reverse=True)
    copies = list(dict.fromkeys(folder for note in known if (folder := _noted_copy(note))))
    kept = set(copies[:most])
    for copy in copies[most:]:
        shutil.rmtree(copy, ignore_errors=True)
    for count, note in enumerate(known):
        if count >= most * most or _noted_copy(note) not in kept:
            note.unlink(missing_ok=True)


def _noted_copy(note: Path) -> Path | None:
    """Return the folder that a note tells of; None if it tells of none below its own."""
    try:
        folder = Path(os.path.abspath(note.parent / json.loads(note.read_bytes())["folder"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if note.parent.absolute() in folder.parents else None


def _used_ns(note: Path) -> int:
    try:
        return note.stat().st_mtime_ns
    except OSError:
        return 0


def prepared_at(folder: Path, name: str) -> Found:
    """Return the files of a prepared folder of the dataset ``name``."""
    return prepared_splits(folder, read_info(folder), name)
