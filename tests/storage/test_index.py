"""The index is built once, found again in no time, and never believed when it is stale."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdss.errors import ContentChanged, DatasetDamaged, DatasetNotFound
from fdss.storage import ArrowBackend, messages, walking
from fdss.storage.fingerprint import fingerprint_of_table
from fdss.storage.index import BatchIndex, load_index, save_index
from fdss.storage.stamps import Stamp
from fdss.storage.tables import IndexOptions, Table, open_table

Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]


def numbers(*counts: int) -> list[dict[str, Any]]:
    """Return batches of rising numbers."""
    ends = np.cumsum(counts)
    return [{"n": np.arange(end - count, end)} for count, end in zip(counts, ends, strict=True)]


@pytest.fixture
def index_options(tmp_path: Path) -> IndexOptions:
    """Return options that keep indexes in the test's own folder."""
    return IndexOptions(tmp_path / "indexes")


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are walked from now on."""
    walked: list[str] = []

    def counted(stamp: Stamp) -> Any:
        walked.append(stamp.name)
        return messages.messages_of(stamp)

    monkeypatch.setattr(walking, "messages_of", counted)
    return walked


def opened(path: Path, options: IndexOptions) -> Table:
    """Return the table of one file."""
    return open_table([path], options, fingerprint_of_table)


def only_index(options: IndexOptions) -> Path:
    """Return the one file in the folder of indexes."""
    [path] = options.folder.iterdir()
    return path


def test_built_once(
    write: Callable[..., Path], index_options: IndexOptions, walks: list[str]
) -> None:
    """The second opening walks nothing and gives the same table."""
    path = write("x.arrow", numbers(3, 0, 5))
    first, second = opened(path, index_options), opened(path, index_options)
    assert walks == ["x.arrow"]
    assert first.first_rows.tolist() == second.first_rows.tolist() == [0, 3, 8]
    assert first.fingerprint == second.fingerprint != ""
    assert first.batch(1) == second.batch(1)


def synthetic(path: Path, batches: int) -> BatchIndex:
    """Return an index of a file that nobody reads, of some batches."""
    places = np.zeros((batches, 3), np.int64)
    return BatchIndex(
        files=(Stamp(str(path), 1, 1),),
        schema=b"schema",
        first_rows=np.arange(batches + 1, dtype=np.int64),
        places=places,
        dictionaries=np.zeros((0, 5), np.int64),
        schemas=np.zeros((1, 2), np.int64),
        is_compressed=False,
        fingerprint="f",
    )


def test_an_index_is_of_this_process(tmp_path: Path) -> None:
    """An index that is cut after it was opened is still whole: nothing of it is a memory map."""
    path = tmp_path / "x.batches"
    index = synthetic(tmp_path / "data", 200_000)
    save_index(path, index)
    loaded = load_index(path, index.files)
    os.truncate(path, 0)
    assert loaded is not None and loaded.rows == 200_000
    assert loaded.first_rows.tolist() == index.first_rows.tolist()


@pytest.mark.parametrize("row", [-1, 1 << 40])
@pytest.mark.parametrize("array", ["first_rows", "places", "dictionaries", "schemas"])
def test_an_index_of_what_is_not_there(tmp_path: Path, array: str, row: int) -> None:
    """An index that leads out of its files, or whose rows do not follow, is built again."""
    path = tmp_path / "x.batches"
    index = replace(synthetic(tmp_path / "data", 3), dictionaries=np.zeros((1, 5), np.int64))
    save_index(path, index)
    assert load_index(path, index.files) is not None
    numbers = getattr(index, array).copy()
    numbers.reshape(-1)[1] = row
    save_index(path, replace(index, **{array: numbers}))
    assert load_index(path, index.files) is None


@pytest.mark.parametrize("keep_time", [False, True])
def test_stale(write: Callable[..., Path], open_at: Open, read: Read, keep_time: bool) -> None:
    """A file saved again under its name is indexed anew, even if only its size tells."""
    path = write("x.arrow", numbers(10))
    before = path.stat()
    assert len(open_at(path)) == 10
    write("x.arrow", numbers(25))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = open_at(path)
    assert [row["n"] for row in read(again, positions=range(12, 25))] == list(range(12, 25))


def test_older_index_is_dropped(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """Indexes of earlier contents of the same files do not pile up."""
    for count in (1, 2, 3):
        path = write("x.arrow", numbers(count))
        opened(path, index_options)
    assert load_index(only_index(index_options), (Stamp.of(path),)) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-8],
        lambda content: content + b"12345678",
        lambda content: b"FDSS-INDEX-0000\n" + content[16:],
        lambda content: content[:60] + b"?" + content[61:],
        lambda content: b"\xff" * len(content),
    ],
)
def test_damaged_index(
    write: Callable[..., Path],
    index_options: IndexOptions,
    walks: list[str],
    damage: Callable[[bytes], bytes],
) -> None:
    """An index that is cut, foreign, of another version or altered is built again."""
    path = write("x.arrow", numbers(3, 5))
    opened(path, index_options)
    kept = only_index(index_options)
    kept.write_bytes(damage(kept.read_bytes()))
    assert len(opened(path, index_options)) == 8
    assert len(opened(path, index_options)) == 8
    assert walks == ["x.arrow", "x.arrow"]


def test_rebuild(write: Callable[..., Path], index_options: IndexOptions, walks: list[str]) -> None:
    """An index is built again when that is asked for."""
    path = write("x.arrow", numbers(3))
    opened(path, index_options)
    opened(path, replace(index_options, rebuild=True))
    assert len(walks) == 2


def test_concurrent_builders(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """Builders of one index at one time all succeed and leave one whole index behind."""
    path = write("x.arrow", numbers(*[2] * 500))
    found: list[int] = []
    barrier = threading.Barrier(8)

    def build() -> None:
        barrier.wait()
        found.append(len(opened(path, replace(index_options, rebuild=True))))

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1000] * 8
    assert load_index(only_index(index_options), (Stamp.of(path),)) is not None


def test_folder_cannot_be_written(write: Callable[..., Path], tmp_path: Path) -> None:
    """Where no index can be kept, the dataset opens all the same."""
    (tmp_path / "taken").write_text("a file, not a folder")
    table = opened(write("x.arrow", numbers(3)), IndexOptions(tmp_path / "taken" / "indexes"))
    assert len(pickle.loads(pickle.dumps(table))) == 3


def test_missing_file(tmp_path: Path, index_options: IndexOptions) -> None:
    """A file that is not there is not found, and only its name is told."""
    with pytest.raises(DatasetNotFound, match="'gone.arrow'") as missing:
        opened(tmp_path / "gone.arrow", index_options)
    assert str(tmp_path) not in missing.value.message


def test_different_columns(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """Files of different columns make no table."""
    paths = [write("a.arrow", numbers(3)), write("b.arrow", [{"m": [1]}])]
    with pytest.raises(DatasetDamaged, match=r"'a.arrow' and 'b.arrow'"):
        open_table(paths, index_options, fingerprint_of_table)


def test_replaced_file(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """A read that touches a replaced file is refused; files that stayed are read on."""
    paths = [write("a.arrow", numbers(3)), write("b.arrow", numbers(4))]
    table = open_table(paths, index_options, fingerprint_of_table)
    table.batch(1)
    replacement = write("new.arrow", numbers(4))
    os.utime(replacement, ns=(1, 1))
    os.replace(replacement, paths[1])
    assert table.batch(0).num_rows == 3
    with pytest.raises(ContentChanged, match=r"'b.arrow'"):
        table.batch(1)
    assert not table.is_fresh


def test_pickle_of_changed_file(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """A pickled table reads the files it was made of, or none."""
    path = write("x.arrow", numbers(3))
    pickled = pickle.dumps(opened(path, index_options))
    only_index(index_options).unlink()
    assert pickle.loads(pickled).batch(0).num_rows == 3
    write("x.arrow", numbers(9))
    with pytest.raises(ContentChanged):
        pickle.loads(pickled)


def test_damaged_batch(write: Callable[..., Path], index_options: IndexOptions) -> None:
    """A batch whose bytes are not a batch any more is an error that names its file."""
    path = write("x.arrow", numbers(3, 5))
    table = opened(path, index_options)
    stamp, content = path.stat(), bytearray(path.read_bytes())
    _, offset, length = table._index.places[1].tolist()
    content[offset + 8 : offset + length] = b"\xff" * (length - 8)
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(DatasetDamaged, match=r"'x.arrow'"):
        Table(table._index, index_options.folder).batch(1)


@pytest.mark.only_on("linux")
def test_descriptors_are_given_back(
    write: Callable[..., Path], index_options: IndexOptions
) -> None:
    """Reading many files holds no descriptor for any of them."""
    paths = [write(f"{number}.arrow", numbers(1)) for number in range(300)]
    table = open_table(paths, index_options, fingerprint_of_table)
    before = len(os.listdir("/proc/self/fd"))
    held = [table.batch(number) for number in range(300)]
    # What an earlier test left open may be closed meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(held) == 300
