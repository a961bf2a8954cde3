"""Rows that are not in memory are fetched all at once before the first of them is touched."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fdss.storage import ArrowBackend
from fdss.storage.prefetch import fetch, is_cached
from fdss.storage.ranges import OpenFile
from fdss.storage.stamps import Stamp
from fdss.storage.tables import IndexOptions, open_table
from fdss.storage.views import View

ROWS = 8_000
ROW_BYTES = 1800
PAGE_BYTES = 4096
WAIT_S = 60.0
Write = Callable[..., Path]
Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]


def in_memory(file: Path) -> int:
    """Return how many pages of a file are in memory."""
    with (
        open(file, "rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        content = np.frombuffer(mapped, np.uint8)
        pages = (ctypes.c_ubyte * -(-len(content) // PAGE_BYTES))()
        address, size = ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content))
        assert ctypes.CDLL(None).mincore(address, size, pages) == 0
        del content
        return sum(page & 1 for page in pages)


def emptied(file: Path) -> Path:
    """Take a saved file out of memory."""
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())
        if sys.platform == "linux":
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file


@pytest.fixture
def cold(write: Write) -> Callable[[], Path]:
    """Return a call that takes a saved file out of memory."""
    texts = [f"{number:08} " * 200 for number in range(ROWS)]
    batches = [
        {"id": range(at, at + 1000), "text": texts[at : at + 1000]} for at in range(0, ROWS, 1000)
    ]
    file = write("cold/data.arrow", batches)

    return lambda: emptied(file)


@pytest.mark.only_on("linux")
def test_rows_are_fetched_and_nothing_beside_them(cold: Callable[[], Path]) -> None:
    """Ranges come into memory without being touched, and the file around them does not."""
    file = cold()
    with OpenFile(Stamp.of(file)) as opened:
        assert not is_cached(opened, 0)
        assert in_memory(file) <= 1
        ranges = [(begin, 16 * ROW_BYTES) for begin in range(0, file.stat().st_size, 1 << 21)]
        fetch(opened, ranges)
        wanted = sum(size // PAGE_BYTES for _, size in ranges)
        deadline_s = time.monotonic() + WAIT_S
        while in_memory(file) < wanted and time.monotonic() < deadline_s:
            continue
        assert wanted <= in_memory(file) < file.stat().st_size // PAGE_BYTES / 4
        assert is_cached(opened, ranges[0][0])


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("columns", [None, ("id",), ("text",)])
def test_cold_rows_are_the_rows(
    cold: Callable[[], Path],
    open_at: Open,
    read: Read,
    seed: int | None,
    columns: tuple[str, ...] | None,
) -> None:
    """Rows of a file that is not in memory are those of the same file when it is."""
    backend = open_at(cold().parent)
    of: dict[str, Any] = {"positions": range(0, 3000, 3), "seed": seed, "columns": columns}
    cold()
    first = read(backend, **of)
    assert first == read(backend, **of)
    assert len(first) == 1000


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("names", [("note", "text"), ("text", "note"), ("text", "tags", "pairs")])
def test_the_place_of_a_column_does_not_matter(
    write: Write, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """A few rows bring little of a file into memory, wherever in their batch its columns lie."""
    columns = {
        "text": [f"{number:08} " * 200 for number in range(1000)],
        "note": ["n"] * 1000,
        "tags": [["a", "b"]] * 1000,
        "pairs": pa.array([[("k", [1])]] * 1000, pa.map_(pa.string(), pa.list_(pa.int64()))),
    }
    batch = pa.record_batch({name: columns[name] for name in names})
    file = write("placed/data.arrow", [batch] * (ROWS // 1000))
    table = open_table([file], IndexOptions(tmp_path / "indexes"), lambda table: "told")
    emptied(file)
    assert in_memory(file) == 0
    keys = np.arange(0, 8, 2)
    found = View([(table, range(len(table)))]).copied(
        keys, keys + 500, np.ones_like(keys), is_scattered=True
    )
    assert found.to_pylist() == [batch.slice(500 + key, 1).to_pylist()[0] for key in range(0, 8, 2)]
    assert in_memory(file) < file.stat().st_size // PAGE_BYTES / 4


@pytest.mark.only_on("linux")
def test_rows_without_a_way_to_ask_the_kernel(
    cold: Callable[[], Path], open_at: Open, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that was built without ``preadv2`` reads shuffled rows like any other."""
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    backend = open_at(cold().parent)
    assert len(read(backend, positions=range(3000), seed=3)) == 3000
