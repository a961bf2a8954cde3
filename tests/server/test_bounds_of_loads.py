"""Loads of one client after another leave a bounded number of things behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import UnknownHandle
from fdss.handles import MAX_ARGUMENT_BYTES, MAX_FILE_BYTES, HandlesFile
from fdss.recent import Recent

ROWS = LoadArguments("local/rows")


def _loads(count: int) -> list[LoadArguments]:
    return [replace(ROWS, split=f"train[:{number + 1}]") for number in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where handles are kept."""
    return tmp_path / "state" / "8766.handles.json"


def test_what_was_used_last_is_kept() -> None:
    """Beyond the number and beyond the bytes, what was used longest ago goes."""
    recent: Recent[int] = Recent(3, 100)
    for number in range(3):
        recent.put(str(number), number, 10)
    assert recent.get("0") == 0
    recent.put("3", 3, 10)
    assert recent.items() == [("2", 2), ("0", 0), ("3", 3)]
    recent.put("4", 4, 85)
    assert recent.items() == [("3", 3), ("4", 4)]
    recent.put("5", 5, 1000)

    assert (recent.items(), len(recent), "4" in recent) == ([("5", 5)], 1, False)


def test_datasets_beyond_the_bound_are_closed_and_open_again(
    config: ServerConfig, table_backend: Callable[..., Any], file: Path
) -> None:
    """A handle outlives its dataset's being closed, whether or not handles are kept in a file."""
    for kept in (file, None):
        opened: list[str] = []

        def opener(granted: Any, arguments: LoadArguments, opened: list[str] = opened) -> Any:
            opened.append(arguments.split)
            return table_backend(1)

        catalog = Catalog(replace(config, max_open=4), file=kept, opener=opener)
        loads = _loads(20)
        for arguments in loads:
            catalog.load(arguments)
        assert len(catalog.entries()) == 4
        assert catalog.get(loads[0].handle).arguments == loads[0]
        assert opened == [*(arguments.split for arguments in loads), loads[0].split]


def test_handles_beyond_the_bound_are_forgotten(
    config: ServerConfig, table_backend: Callable[..., Any], file: Path
) -> None:
    """Memory and file have as many handles as the setting says, those that were used last."""
    settings = replace(config, max_open=2, max_handles=5)
    catalog = Catalog(settings, file=file, opener=lambda granted, arguments: table_backend(1))
    loads = _loads(30)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(catalog.load, loads))
    last = catalog.load(ROWS).handle
    kept = json.loads(file.read_text())["handles"]

    assert len(kept) == 5
    assert last in kept
    known = []
    for arguments in loads:
        try:
            known.append(catalog.get(arguments.handle))
        except UnknownHandle:
            continue
    assert len(known) < 15


def test_arguments_have_a_bound_of_bytes(file: Path) -> None:
    """Few handles of large arguments are as bounded as many of small ones."""
    handles = HandlesFile(file)
    size = MAX_ARGUMENT_BYTES // 4
    for number in range(8):
        handles.add(replace(ROWS, data_files=[str(number) * size]))

    assert len(json.loads(file.read_text())["handles"]) == 3
    assert file.stat().st_size < MAX_FILE_BYTES


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("kind", ["large", "pipe", "folder"])
def test_an_odd_handles_file_is_set_aside(
    config: ServerConfig, table_backend: Callable[..., Any], file: Path, kind: str
) -> None:
    """What is too large or no file is put aside unread, and the server goes on."""
    file.parent.mkdir()
    if kind == "large":
        with file.open("wb") as written:
            written.truncate(MAX_FILE_BYTES + 1)
    elif kind == "pipe" and sys.platform != "win32":
        os.mkfifo(file)
    else:
        file.mkdir()
    catalog = Catalog(config, file=file, opener=lambda granted, arguments: table_backend(1))

    with pytest.raises(UnknownHandle):
        catalog.get("0" * 16)
    assert file.with_name(file.name + ".corrupt").exists()
    assert catalog.load(ROWS).handle in file.read_text()


def test_prepared_copies_of_a_folder_are_bounded(config: ServerConfig, tmp_path: Path) -> None:
    """However many choices of its files are loaded, the copies used last are kept, and used."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.json").write_text(f'{{"a": {number}}}\n')
    settings = replace(config, local={"rows": folder}, max_copies=3)

    def load(*numbers: int) -> list[dict[str, Any]]:
        chosen = replace(ROWS, data_files=[f"{number}.json" for number in numbers])
        backend = Catalog(settings).load(chosen).backend
        return [row for chunk in backend.chunks(_whole(backend)) for row in chunk.rows()]

    for number in range(1, 7):
        assert load(number) == [{"a": number}]
        assert load(0) == [{"a": 0}]
    prepared = places.index_folder() / "prepared"
    copies = {path.parent for path in prepared.rglob("*.arrow")}
    notes = list(prepared.rglob("*.json"))

    assert len(copies) == 3
    assert len([note for note in notes if note.name != "dataset_info.json"]) <= 9


def _whole(backend: Any) -> Selection:
    return Selection(range(len(backend)), range(len(backend)))
