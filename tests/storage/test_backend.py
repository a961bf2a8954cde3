"""Rows come in the order that order v1 gives, whatever the files look like."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import BadParameter, BadSplit, ContentChanged, SplitNotFound, UnknownColumn
from fdss.order import Order
from fdss.storage import ArrowBackend, Folder, OpenOptions, open_dataset
from fdss.storage.gather import BatchReader
from fdss.storage.tables import Table

Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]

ROWS = 1003
CUTS = [0, 1, 2, 40, 40, 300, 900, ROWS]


def columns(begin: int, end: int) -> pa.RecordBatch:
    """Return rows of a number, a text of varying length with gaps, and a list."""
    rows = range(begin, end)
    return pa.record_batch(
        {
            "n": pa.array(rows, pa.int64()),
            "text": pa.array([None if n % 7 == 0 else f"{n:05d}" * (n % 5) for n in rows]),
            "tags": pa.array([[n] * (n % 3) for n in rows], pa.list_(pa.int64())),
        },
        schema=pa.schema({"n": pa.int64(), "text": pa.string(), "tags": pa.list_(pa.int64())}),
    )


@pytest.fixture(params=["stream", "file", "zstd", "dictionary"])
def backend(request: pytest.FixtureRequest, write: Callable[..., Path], open_at: Open) -> Any:
    """Return 1,003 rows in batches of very different sizes, stored in four ways."""
    batches = [columns(begin, end) for begin, end in pairwise(CUTS)]
    if request.param == "dictionary":
        batches = [
            batch.set_column(1, "text", batch["text"].dictionary_encode()) for batch in batches
        ]
    compression = "zstd" if request.param == "zstd" else None
    is_file = request.param == "file"
    if request.param == "dictionary":
        # A dictionary for each batch: in a stream a later one replaces an earlier one.
        assert len({batch["text"].dictionary.to_pylist().__repr__() for batch in batches}) > 3
    return open_at(write("x.arrow", batches, is_file=is_file, compression=compression))


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of some rows, after a look at the other columns."""
    for row in rows:
        n = row["n"]
        assert row["text"] == (None if n % 7 == 0 else f"{n:05d}" * (n % 5))
        assert row["tags"] == [n] * (n % 3)
    return [row["n"] for row in rows]


SELECTIONS = [
    (range(ROWS), range(ROWS)),
    (range(ROWS), range(0)),
    (range(ROWS), range(39, 41)),
    (range(ROWS), range(5, ROWS, 7)),
    (range(10, 1000), range(100, 900)),
    (range(3, 1000, 9), range(111)),
    (range(3, 1000, 9), range(1, 100, 4)),
    (range(1000, 1003), range(3)),
    (range(7, 8), range(1)),
]


@pytest.mark.parametrize(("rows", "positions"), SELECTIONS)
def test_every_order(backend: ArrowBackend, read: Read, rows: range, positions: range) -> None:
    """Every selection gives the rows that its order puts at its positions."""
    places = np.arange(positions.start, positions.stop, positions.step, dtype=np.int64)
    for seed, block, window in [(None, 16, 0), (1, 1, 0), (2, 16, 0), (3, 16, 100), (4, 64, 7)]:
        order = Order(len(rows), seed, block, window)
        expected = [rows[place] for place in order.rows(places).tolist()]
        found = read(backend, rows, positions, seed=seed, block=block, window=window)
        assert numbers(found) == expected


def test_batches_have_the_schema(backend: ArrowBackend) -> None:
    """Every batch has one row or more, and the schema that the backend tells."""
    assert backend.schema.types == [pa.int64(), pa.string(), pa.list_(pa.int64())]
    for seed in (None, 5):
        batches = list(backend.batches(Selection(range(ROWS), range(ROWS), seed)))
        assert sum(batch.num_rows for batch in batches) == ROWS
        assert all(batch.num_rows and batch.schema.equals(backend.schema) for batch in batches)
        for batch in batches:
            batch.validate(full=True)


@pytest.mark.parametrize("seed", [None, 1])
def test_projection(backend: ArrowBackend, read: Read, seed: int | None) -> None:
    """Columns come in the order they are asked for, and no others are read."""
    found = read(backend, positions=range(5), seed=seed, columns=("tags", "n"))
    assert [list(row) for row in found] == [["tags", "n"]] * 5
    [batch] = backend.batches(Selection(range(3, 6), range(3), seed, columns=("n",)))
    assert batch.schema.names == ["n"]


@pytest.mark.parametrize(
    ("selection", "error"),
    [
        (Selection(range(ROWS + 1), range(1)), BadParameter),
        (Selection(range(ROWS), range(ROWS + 1)), BadParameter),
        (Selection(range(ROWS), range(-1, 2)), BadParameter),
        (Selection(range(10, 0, -1), range(3)), BadParameter),
        (Selection(range(ROWS), range(1), seed=-1), BadParameter),
        (Selection(range(ROWS), range(1), columns=("n", "no")), UnknownColumn),
    ],
)
def test_refused_at_once(backend: ArrowBackend, selection: Selection, error: type) -> None:
    """What is not in the dataset is refused by the call, before anything is read."""
    with pytest.raises(error):
        backend.batches(selection)
    with pytest.raises(error):
        backend.chunks(selection)


@pytest.mark.parametrize(("window", "block"), [(0, 16), (1000, 16), (0, 1)])
def test_a_batch_is_read_once_a_page(
    backend: ArrowBackend, monkeypatch: pytest.MonkeyPatch, window: int, block: int
) -> None:
    """One page reads each stored batch that it touches once, or none as a whole."""
    read: list[int] = []
    whole = Table.batch

    def counted(table: Table, number: int, columns: Any = None) -> pa.RecordBatch:
        read.append(number)
        return whole(table, number, columns)

    monkeypatch.setattr(Table, "batch", counted)
    BatchReader(backend._view, None).gathered(Order(ROWS, 1, block, window).rows(np.arange(ROWS)))
    assert sorted(read) == ([] if backend._view.is_copyable else [0, 1, 2, 3, 4, 5])


def test_stored_order_copies_nothing(write: Callable[..., Path], options: OpenOptions) -> None:
    """Where a cut file may end the process, the values are those in the map of the file."""
    path = write("x.arrow", [{"n": np.arange(100_000)}])
    unguarded = replace(options, is_guarded=False)
    backend = open_dataset(Folder(path), LoadArguments("local/it"), unguarded)
    before = pa.total_allocated_bytes()
    held = list(backend.batches(Selection(range(100_000), range(100_000))))
    assert sum(len(batch) for batch in held) == 100_000
    assert pa.total_allocated_bytes() - before < 10_000


def test_batches_are_of_moderate_size(write: Callable[..., Path], open_at: Open) -> None:
    """Gathered batches hold about half a mebibyte, and one row where a row is larger."""
    small = open_at(write("s.arrow", [{"text": ["x" * 2000] * 2000}]))
    sizes = [batch.nbytes for batch in small.batches(Selection(range(2000), range(2000), 1))]
    assert all(256 * 1024 < size < 1024 * 1024 for size in sizes[:-1])
    large = open_at(write("l.arrow", [{"text": ["x" * 700_000] * 5}]))
    assert [len(batch) for batch in large.batches(Selection(range(5), range(5), 1))] == [1] * 5


def test_readers_do_not_move_each_other(backend: ArrowBackend) -> None:
    """Eight threads that read at once get what each would get alone."""
    selections = [Selection(range(ROWS), range(ROWS), seed) for seed in (None, *range(7))]

    def text(selection: Selection) -> list[Any]:
        return [row for batch in backend.batches(selection) for row in batch["n"].to_pylist()]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(text, selections)) == [text(each) for each in selections]


def test_pickle(backend: ArrowBackend, read: Read) -> None:
    """A pickled backend is small and reads the same rows."""
    list(backend.batches(Selection(range(ROWS), range(ROWS), 1)))
    pickled = pickle.dumps(backend)
    assert len(pickled) < 4096
    again = pickle.loads(pickled)
    assert again.fingerprint == backend.fingerprint
    assert numbers(read(again, positions=range(50), seed=3)) == numbers(
        read(backend, positions=range(50), seed=3)
    )
    assert not again.is_stale()


def test_spawned_process(
    backend: ArrowBackend, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """Another process reads the rows of a backend it was handed as a pickle."""
    (tmp_path / "backend").write_bytes(pickle.dumps(backend))
    code = (
        "import pickle, pathlib; from fdss.backend import Selection;"
        "backend = pickle.loads(pathlib.Path('backend').read_bytes());"
        "chunks = backend.chunks(Selection(range(1003), range(20), 9));"
        "print([row['n'] for chunk in chunks for row in chunk.rows()])"
    )
    found: subprocess.CompletedProcess[str] = run_python("-c", code)
    assert found.stdout.strip() == str(Order(ROWS, 9).rows(np.arange(20)).tolist())


# In a process of its own: threads of other tests may hold locks that nobody frees in a child.
FORK = """
import os, pathlib, pickle
from fdss.backend import Selection

backend = pickle.loads(pathlib.Path("backend").read_bytes())

def read():
    chunks = backend.chunks(Selection(range(1003), range(20), 9))
    return [row["n"] for chunk in chunks for row in chunk.rows()]

before = read()
child = os.fork()
if not child:
    os._exit(0 if read() == before else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), read() == before, len(before))
"""


@pytest.mark.only_on("linux")
def test_forked_process(
    backend: ArrowBackend, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """A child made by fork reads on with what its parent had open."""
    (tmp_path / "backend").write_bytes(pickle.dumps(backend))
    found: subprocess.CompletedProcess[str] = run_python("-c", FORK)

    assert found.stdout == "0 True 20\n"


def test_replaced_file(write: Callable[..., Path], open_at: Open, tmp_path: Path) -> None:
    """After its file was replaced a backend is stale, and a page of it is refused."""
    path = write("x.arrow", [columns(0, 50)])
    backend = open_at(path)
    assert not backend.is_stale()
    pages = open_at(path).batches(Selection(range(50), range(50), 1))
    os.replace(write("y.arrow", [columns(0, 60)]), path)
    with pytest.raises(ContentChanged, match=r"'x.arrow'"):
        list(pages)
    fresh = pickle.loads(pickle.dumps(open_at(path)))
    assert len(fresh) == 60 and not fresh.is_stale()


def test_stale(write: Callable[..., Path], open_at: Open) -> None:
    """A backend is stale from the moment its file is seen changed, and stays so."""
    path = write("x.arrow", [columns(0, 50)])
    backend = open_at(path)
    content, times = path.read_bytes(), path.stat()
    write("x.arrow", [columns(0, 60)])
    assert backend.is_stale()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert backend.is_stale()


SPLITS = ["train[:10]", "train[39:42]", "train[10%:20%]", "train[-3:]", "train[5:6]+train[:2]"]


@pytest.mark.parametrize("split", SPLITS)
def test_slices(write: Callable[..., Path], open_at: Open, read: Read, split: str) -> None:
    """A slice of a split holds the rows that datasets gives for it, in any order."""
    from datasets import ReadInstruction

    path = write("x.arrow", [columns(begin, end) for begin, end in pairwise(CUTS)])
    backend = open_at(path, split=split)
    parts = ReadInstruction.from_spec(split).to_absolute({"train": ROWS})
    expected = [row for part in parts for row in range(part.from_, part.to)]
    assert len(backend) == len(expected)
    assert numbers(read(backend)) == expected
    order = Order(len(expected), 1, 2, 5).rows(np.arange(len(expected))).tolist()
    assert numbers(read(backend, seed=1, block=2, window=5)) == [expected[row] for row in order]


def test_slice_of_many_batches(write: Callable[..., Path], open_at: Open, read: Read) -> None:
    """Positions anywhere in a sum of slices are found in the right slice."""
    path = write("x.arrow", [columns(begin, end) for begin, end in pairwise(CUTS)])
    backend = open_at(path, split="train[900:]+train[:41]+train[2:3]")
    expected = [*range(900, ROWS), *range(41), 2]
    for begin, end in product(range(0, len(expected), 13), range(0, len(expected), 17)):
        if begin < end:
            assert numbers(read(backend, positions=range(begin, end))) == expected[begin:end]


@pytest.mark.parametrize(
    ("split", "error"),
    [("test", SplitNotFound), ("train[", BadSplit), ("train[5:5]", BadSplit), ("", BadSplit)],
)
def test_refused_splits(write: Callable[..., Path], open_at: Open, split: str, error: type) -> None:
    """A split that is not there or means no rows is refused when it is opened."""
    with pytest.raises(error):
        open_at(write("x.arrow", [columns(0, 9)]), split=split)


@pytest.mark.parametrize("seed", [None, 1])
def test_rows_without_columns(backend: ArrowBackend, read: Read, seed: int | None) -> None:
    """Of no column, every row is empty; record batches cannot say that, and are refused."""
    assert read(backend, positions=range(5, ROWS, 2), seed=seed, columns=()) == [{}] * 499
    assert read(backend, positions=range(0), columns=()) == []
    with pytest.raises(BadParameter, match="columns must name"):
        backend.batches(Selection(range(ROWS), range(5), seed, columns=()))
    with pytest.raises(BadParameter, match="not within"):
        backend.chunks(Selection(range(ROWS), range(ROWS + 1), seed, columns=()))


def test_a_look_at_once(
    write: Callable[..., Path], open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were replaced since the last look are seen at once by whoever asks for that."""
    monkeypatch.setattr("fdss.storage.arrow._STALE_EVERY_S", 3600.0)
    path = write("x.arrow", [{"n": [1, 2, 3]}])
    backend = open_at(path)
    assert not backend.is_stale()
    os.replace(write("new/x.arrow", [{"n": [4, 5]}]), path)
    assert not backend.is_stale()
    assert backend.is_stale(at_once=True)
    assert backend.is_stale()


@pytest.mark.parametrize("row_bytes", [100, 10_000])
@pytest.mark.parametrize("window", [0, 30])
def test_rows_of_any_size_come_in_their_order(
    write: Callable[..., Path], open_at: Open, read: Read, row_bytes: int, window: int
) -> None:
    """However large its rows are, a dataset gives them in the order of its seed."""
    count = 500
    numbers = [[number] * (row_bytes // 4) for number in range(count)]
    column = pa.array(numbers, pa.list_(pa.int32()))
    table = pa.table({"n": range(count), "numbers": column})
    path = write("sized/data.arrow", table.to_batches(max_chunksize=70))
    rows = read(open_at(path.parent), seed=5, block=4, window=window)
    order = Order(count, 5, 4, window).rows(np.arange(count))
    assert [row["n"] for row in rows] == order.tolist()
    assert all(row["numbers"] == numbers[row["n"]] for row in rows)
