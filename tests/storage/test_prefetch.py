"""Rows that are not in memory are fetched all at once before the first of them is touched."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fdss.storage import ArrowBackend
from fdss.storage.prefetch import Run, extents, prefetch
from fdss.storage.tables import IndexOptions, open_table

ROWS = 8_000
ROW_BYTES = 1800
PAGE_BYTES = 4096
WAIT_S = 10.0
Write = Callable[..., Path]
Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]

COLUMNS: dict[str, tuple[list[Any], pa.DataType]] = {
    "numbers": ([1, 2, 3, 4, 5], pa.int64()),
    "truths": ([True, None, False, True, True], pa.bool_()),
    "text": (["a", "bcd", None, "", "efghi"], pa.string()),
    "large text": (["a", "bcd", None, "", "efghi"], pa.large_string()),
    "bytes": ([b"a", b"bcd", None, b"", b"efghi"], pa.binary()),
    "lists": ([[1], [2, 3], None, [], [4, 5, 6]], pa.list_(pa.int32())),
    "large lists": ([["a"], ["bc"], None, [], ["d", "e"]], pa.large_list(pa.string())),
    "fixed lists": ([[1, 2]] * 5, pa.list_(pa.int16(), 2)),
    "structs": ([{"x": 1, "y": "ab"}] * 5, pa.struct({"x": pa.int8(), "y": pa.string()})),
    "maps": ([[("k", 1)], [], None, [("l", 2), ("m", 3)], []], pa.map_(pa.string(), pa.int64())),
    "decimals": ([None] * 5, pa.decimal128(10, 2)),
    "nothing": ([None] * 5, pa.null()),
    "views": (["a"] * 5, pa.string_view()),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(("begin", "end"), [(0, 5), (1, 3), (2, 2), (4, 5)])
def test_extents_lie_within_the_columns_buffers(name: str, begin: int, end: int) -> None:
    """What rows take of a column of any type lies within the memory of the column."""
    values, type_ = COLUMNS[name]
    array = pa.array(values, type_)
    memory = [
        range(buffer.address, buffer.address + buffer.size + 1)
        for buffer in array.buffers()
        if buffer is not None
    ]
    for address, size in extents(array, begin, end):
        assert any(address in part and address + size in part for part in memory)


def test_extents_are_exactly_the_rows() -> None:
    """Of texts and numbers, the bytes of the rows are named and no others."""
    text, numbers = pa.array(["ab", "cde", "f"]), pa.array([7, 8, 9], pa.int16())
    content, values = text.buffers()[2].address, numbers.buffers()[1].address
    assert list(extents(text, 1, 2)) == [(content + 2, 3)]
    assert list(extents(numbers, 1, 3)) == [(values + 2, 4)]
    lists = pa.array([["ab"], ["c", "d"], []])
    inner = lists.values.buffers()[2].address
    assert list(extents(lists, 1, 2)) == [(inner + 2, 2)]


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
def test_rows_are_fetched_and_nothing_beside_them(cold: Callable[[], Path], tmp_path: Path) -> None:
    """Rows come into memory without being touched, and the file around them does not."""
    options = IndexOptions(tmp_path / "indexes")
    table = open_table([cold()], options, lambda table: "told")
    # Arrow has the beginning of a file fetched when it maps it.
    table.content(table.place(0).stamp)
    file = cold()
    assert in_memory(file) == 0
    spans = [(batch, 100, 116) for batch in range(0, 8, 2)]
    prefetch(partial(Run, table), spans)
    wanted = sum(16 * ROW_BYTES // PAGE_BYTES for _ in spans)
    deadline_s = time.monotonic() + WAIT_S
    while in_memory(file) < wanted and time.monotonic() < deadline_s:
        continue
    assert wanted <= in_memory(file) < file.stat().st_size // PAGE_BYTES / 4
    prefetch(partial(Run, table), spans)
    for batch, begin, end in spans:
        ids = table.batch(batch).slice(begin, end - begin).column("id").to_pylist()
        assert ids == list(range(1000 * batch + begin, 1000 * batch + end))


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
def test_values_without_bytes_fetch_nothing(write: Write, tmp_path: Path) -> None:
    """Empty texts and lists beside the rows bring nothing else of the file into memory."""
    empty = {"note": ["one", *[""] * 999], "tags": [[1], *[[]] * 999]}
    batch = {**empty, "text": [f"{number:08} " * 200 for number in range(1000)]}
    file = write("empty/data.arrow", [batch] * (ROWS // 1000))
    table = open_table([file], IndexOptions(tmp_path / "indexes"), lambda table: "told")
    table.content(table.place(0).stamp)
    emptied(file)
    assert in_memory(file) == 0
    prefetch(partial(Run, table), [(0, 100, 116)])
    deadline_s = time.monotonic() + WAIT_S
    while in_memory(file) < 16 * ROW_BYTES // PAGE_BYTES and time.monotonic() < deadline_s:
        continue
    assert in_memory(file) < file.stat().st_size // PAGE_BYTES / 4


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("names", [("note", "text"), ("text", "note"), ("text", "tags", "pairs")])
def test_the_place_of_a_column_does_not_matter(
    write: Write, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """What tells where values are is fetched too, wherever it lies in its batch."""
    columns = {
        "text": [f"{number:08} " * 200 for number in range(1000)],
        "note": ["n"] * 1000,
        "tags": [["a", "b"]] * 1000,
        "pairs": pa.array([[("k", [1])]] * 1000, pa.map_(pa.string(), pa.list_(pa.int64()))),
    }
    batch = pa.record_batch({name: columns[name] for name in names})
    file = write("placed/data.arrow", [batch] * (ROWS // 1000))
    table = open_table([file], IndexOptions(tmp_path / "indexes"), lambda table: "told")
    table.content(table.place(0).stamp)
    emptied(file)
    assert in_memory(file) == 0
    spans = [(number, 500, 501) for number in range(0, 8, 2)]
    prefetch(partial(Run, table), spans)
    for number, begin, end in spans:
        assert table.batch(number).slice(begin, end - begin).to_pylist()
    assert in_memory(file) < file.stat().st_size // PAGE_BYTES / 4


@pytest.mark.only_on("linux")
def test_rows_without_a_way_to_ask_the_kernel(
    cold: Callable[[], Path], open_at: Open, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that was built without ``preadv2`` reads shuffled rows like any other."""
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    backend = open_at(cold().parent)
    assert len(read(backend, positions=range(3000), seed=3)) == 3000
