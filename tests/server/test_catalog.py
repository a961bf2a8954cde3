"""The catalog: once per handle, over restarts, and again when files change."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import DatasetNotFound, PathsDisabled, UnknownHandle
from fdss.handles import HandlesFile
from fdss.policy import Grant

Maker = Callable[..., Any]
ROWS = LoadArguments("local/rows")
THREADS = 8


class _Opener:
    """Opens a backend, and counts how often; waits for ``let_go`` when told to."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        self.opened: list[LoadArguments] = []
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.let_go.set()
        self.error: Exception | None = None

    def __call__(self, granted: Grant, arguments: LoadArguments) -> Any:
        self.opened.append(arguments)
        self.arrived.release()
        assert self.let_go.wait(60)
        if self.error is not None:
            raise self.error
        return self.make(fingerprint=str(len(self.opened)))


@pytest.fixture
def opener(table_backend: Maker) -> _Opener:
    """Return an opener that counts."""
    return _Opener(table_backend)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where handles are kept."""
    return tmp_path / "state" / "8766.handles.json"


def test_concurrent_loads_of_one_handle_open_once(config: ServerConfig, opener: _Opener) -> None:
    """All who ask while it opens get the one backend."""
    opener.let_go.clear()
    catalog = Catalog(config, opener=opener)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(catalog.load, ROWS) for _ in range(THREADS)]
        assert opener.arrived.acquire(timeout=60)
        opener.let_go.set()
        entries = [future.result(60) for future in waiting]

    assert len(opener.opened) == 1
    assert all(entry is entries[0] for entry in entries)


def test_a_failed_load_fails_alike_for_all_and_is_tried_again(
    config: ServerConfig, opener: _Opener
) -> None:
    """Whoever waited gets the very same error; the next load starts anew."""
    opener.let_go.clear()
    opener.error = DatasetNotFound("It is not there.")
    catalog = Catalog(config, opener=opener)
    looked = threading.Semaphore(0)

    class Opening(dict[str, Any]):
        """Tells when somebody has looked who opens a dataset."""

        def get(self, handle: str, default: Any = None) -> Any:
            found = super().get(handle, default)
            looked.release()
            return found

    catalog._opening = Opening()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(catalog.load, ROWS)
        assert opener.arrived.acquire(timeout=60)
        second = pool.submit(catalog.load, ROWS)
        assert all(looked.acquire(timeout=60) for _ in range(2))
        opener.let_go.set()
        errors = [first.exception(60), second.exception(60)]

    assert errors == [opener.error] * 2
    opener.error = None
    assert catalog.load(ROWS).backend.fingerprint == "2"


def test_loads_of_different_handles_run_side_by_side(config: ServerConfig, opener: _Opener) -> None:
    """A long load holds up no other one."""
    opener.let_go.clear()
    catalog = Catalog(config, opener=opener)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(catalog.load, replace(ROWS, split=split)) for split in "ab"]
        arrived = [opener.arrived.acquire(timeout=60) for _ in waiting]
        opener.let_go.set()

        assert arrived == [True, True]
        assert [future.result(60).source for future in waiting] == ["local", "local"]


def test_handles_survive_a_restart(config: ServerConfig, opener: _Opener, file: Path) -> None:
    """A later run opens a handle of an earlier one on first use, and lists it from then on."""
    handle = Catalog(config, file=file, opener=opener).load(ROWS).handle
    later = Catalog(config, file=file, opener=opener)

    assert later.entries() == []
    assert later.get(handle).arguments == ROWS
    assert [entry.handle for entry in later.entries()] == [handle]
    assert len(opener.opened) == 2


def test_what_is_kept_is_opened_under_the_policy_of_today(
    config: ServerConfig, opener: _Opener, file: Path, tmp_path: Path
) -> None:
    """A handle gives no right that the running server does not give, and tells nothing of one."""
    yesterday = Catalog(replace(config, allow_paths=True), file=file, opener=opener)
    handles = [yesterday.load(ROWS).handle, yesterday.load(LoadArguments(str(tmp_path))).handle]
    today = Catalog(replace(config, local={}), file=file, opener=opener)

    for handle in handles:
        with pytest.raises(UnknownHandle, match=f"^Unknown handle: {handle}"):
            today.get(handle)


def test_handles_loaded_at_once_are_all_kept(
    config: ServerConfig, opener: _Opener, file: Path
) -> None:
    """No handle is lost when many are loaded at the same time."""
    catalog = Catalog(config, file=file, opener=opener)
    loads = [replace(ROWS, split=f"split{number}") for number in range(20)]
    with ThreadPoolExecutor(THREADS) as pool:
        handles = [entry.handle for entry in pool.map(catalog.load, loads)]

    assert set(json.loads(file.read_text())["handles"]) == set(handles)
    assert sorted(os.listdir(file.parent)) == [f".{file.name}.lock", file.name]


def test_handles_loaded_by_several_processes_are_all_kept(
    file: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """No process overwrites what another adds at the same time, and each knows all of them."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fdss.arguments import LoadArguments\n"
        "from fdss.handles import HandlesFile\n"
        "file = HandlesFile(Path(sys.argv[1]), 'run')\n"
        "for number in range(25):\n"
        "    file.add(LoadArguments(f'local/{sys.argv[2]}-{number}'))\n"
    )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: run_python("-c", code, str(file), name), "abcd"))
    opened = HandlesFile(file, "run").opened()

    assert len(opened) == 100
    assert all(HandlesFile(file).arguments_of(handle) for handle in opened)
    assert HandlesFile(file, "another run").opened() == []


def test_what_a_sibling_opened_is_listed(config: ServerConfig, opener: _Opener, file: Path) -> None:
    """Processes of one server list the same handles; those of an earlier run are not among them."""
    Catalog(config, file=file, run="earlier", opener=opener).load(replace(ROWS, split="old"))
    siblings = [Catalog(config, file=file, run="now", opener=opener) for _ in range(2)]
    handle = siblings[0].load(ROWS).handle

    assert [[entry.handle for entry in one.entries()] for one in siblings] == [[handle]] * 2


def test_another_policy_keeps_open_what_it_allows(
    config: ServerConfig, opener: _Opener, tmp_path: Path
) -> None:
    """What both policies allow at the same place stays open; the rest has to be asked for anew."""
    permissive = replace(config, allow_paths=True)
    before = Catalog(permissive, opener=opener)
    local, path = before.load(ROWS), before.load(LoadArguments(str(tmp_path)))
    strict = before.under(config)
    moved = before.under(replace(permissive, local={"rows": tmp_path}))

    assert strict.entries() == [local]
    assert moved.entries() == [path]
    with pytest.raises(UnknownHandle):
        strict.get(path.handle)
    with pytest.raises(PathsDisabled):
        strict.load(path.arguments)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'{"version": 2, "handles": {}}',
        b'{"version": 1, "handles": []}',
        b'{"version": 1, "handles": {"a": 1}}',
        b'{"version": 1, "handles": {"a": {"path": 1}}}',
        b"[" * 100_000,
    ],
)
def test_a_corrupt_file_is_set_aside_and_reported(
    config: ServerConfig,
    opener: _Opener,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    """The server runs on without the handles of before; what was in the file stays."""
    file.parent.mkdir()
    file.write_bytes(content)
    catalog = Catalog(config, file=file, opener=opener)

    with pytest.raises(UnknownHandle):
        catalog.get("0123456789abcdef")
    assert file.with_name(file.name + ".corrupt").read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert catalog.load(ROWS).handle in file.read_text()


def test_a_handle_that_is_not_that_of_its_arguments_is_unknown(
    config: ServerConfig, opener: _Opener, file: Path
) -> None:
    """A changed file cannot give a handle other arguments."""
    file.parent.mkdir()
    entry = {"0123456789abcdef": ROWS.as_json()}
    file.write_text(json.dumps({"version": 1, "handles": entry}))

    with pytest.raises(UnknownHandle):
        Catalog(config, file=file, opener=opener).get("0123456789abcdef")


def test_a_folder_that_cannot_be_written_costs_only_the_restart(
    config: ServerConfig, opener: _Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A load succeeds although its handle cannot be kept, and the log says so."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    catalog = Catalog(config, file=blocked / "8766.handles.json", opener=opener)

    assert catalog.load(ROWS).handle == ROWS.handle
    assert "is not kept over a restart" in caplog.text


def test_a_stale_dataset_is_opened_again(config: ServerConfig, opener: _Opener) -> None:
    """Once the files changed, the next use sees the new content under the same handle."""
    catalog = Catalog(config, opener=opener)
    backend: Any = catalog.load(ROWS).backend
    backend.stale = True

    assert catalog.get(ROWS.handle).backend.fingerprint == "2"
    assert catalog.load(ROWS).backend.fingerprint == "2"
    assert len(opener.opened) == 2


def test_a_local_and_its_path_are_two_handles(config: ServerConfig, opener: _Opener) -> None:
    """A handle is made of what the client said, so it never tells where a local lies."""
    catalog = Catalog(replace(config, allow_paths=True), opener=opener)
    named, pathed = catalog.load(ROWS), catalog.load(LoadArguments(str(config.local["rows"])))

    assert named.handle != pathed.handle
    assert (named.source, pathed.source) == ("local", "path")
