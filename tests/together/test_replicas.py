"""Replicas: the same rows in other files are the same dataset, and other rows are another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset
from pipelines import grow, numbers

from fdss.arguments import LoadArguments
from fdss.backend import Backend
from fdss.client import ComposableIterableDataset, load_remote
from fdss.config import ServerConfig
from fdss.errors import StateRefused
from fdss.serving import Server
from fdss.storage.fingerprint import sampled_rows

ROWS = 1000
SEEDS = (0, 1, 7, 2**32, 2**64 - 1)
WINDOWS = (0, 100, 131_072)

#: Rows that differ in one row, by the number of that row.
OTHERS = {f"other{row}": row for row in (0, int(sampled_rows(ROWS)[100]), ROWS - 1)}


def dataset(changed: int | None = None) -> Dataset:
    """Return the rows; one of them differs, if so asked."""
    texts = [f"row {n}" if n != changed else "another row" for n in range(ROWS)]
    return Dataset.from_dict({"n": list(range(ROWS)), "text": texts})


def write_stream(path: Path, batch_rows: int) -> None:
    """Write the rows as an Arrow stream of small batches."""
    table = dataset().data.table.combine_chunks()
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Backend]]:
    """Serve the same rows in five layouts, and some that differ in one row."""
    folder = tmp_path_factory.mktemp("replicas")
    dataset().save_to_disk(str(folder / "one-file"))
    dataset().save_to_disk(str(folder / "seven-files"), num_shards=7)
    (folder / "parquet").mkdir()
    dataset().to_parquet(str(folder / "parquet" / "train.parquet"))
    for name, batch_rows in (("small-batches", 3), ("odd-batches", 333)):
        (folder / name).mkdir()
        write_stream(folder / name / "train.arrow", batch_rows)
    for name, row in OTHERS.items():
        dataset(row).save_to_disk(str(folder / name))
    local = {path.name: path for path in folder.iterdir()}
    with Server(ServerConfig(port=0, no_auth=True, local=local)) as server:
        yield {name: load_remote(server.url, LoadArguments(f"local/{name}")) for name in local}


LAYOUTS = ("one-file", "seven-files", "parquet", "small-batches", "odd-batches")


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_layouts_have_one_order(replicas: dict[str, Backend], layout: str) -> None:
    """The same rows in other files, batches and formats have one fingerprint and one order."""
    assert replicas[layout].fingerprint == replicas["one-file"].fingerprint
    for seed in SEEDS:
        for window in WINDOWS:
            one, other = (
                ComposableIterableDataset(replicas[name]).shuffle(seed=seed, buffer_size=window)
                for name in ("one-file", layout)
            )
            assert list(other) == list(one)


def grown(replica: Backend) -> ComposableIterableDataset:
    """Return a dataset whose states stand in the middle of a batch's results."""
    rows = ComposableIterableDataset(replica).select_columns("n").shuffle(seed=7)
    return rows.map(grow, batched=True, batch_size=64)


def test_one_pass_over_all_layouts(replicas: dict[str, Backend]) -> None:
    """A run that meets another replica at every restart sees what one replica would have shown."""
    seen: list[Any] = []
    state = None
    for layout in LAYOUTS:
        part = grown(replicas[layout])
        if state is not None:
            part.load_state_dict(json.loads(state))
        iterator = iter(part)
        seen += islice(iterator, 251)
        state = json.dumps(iterator.state_dict())

    assert seen == list(grown(replicas["one-file"]))[: 251 * len(LAYOUTS)]


@pytest.mark.parametrize("other", OTHERS)
def test_one_sampled_row_makes_another_content(replicas: dict[str, Backend], other: str) -> None:
    """Replicas that differ in one sampled row differ in fingerprint, and refuse each other."""
    iterator = iter(grown(replicas["one-file"]))
    next(iterator)

    assert replicas[other].fingerprint != replicas["one-file"].fingerprint
    with pytest.raises(StateRefused, match="the content of the dataset"):
        grown(replicas[other]).load_state_dict(iterator.state_dict())


def test_a_row_that_is_not_sampled_is_not_noticed(tmp_path: Path) -> None:
    """Rows that differ only where no row is sampled have one fingerprint: that is its limit."""
    unsampled = next(row for row in range(ROWS) if row not in sampled_rows(ROWS).tolist())
    dataset().save_to_disk(str(tmp_path / "one"))
    dataset(unsampled).save_to_disk(str(tmp_path / "other"))
    local = {name: tmp_path / name for name in ("one", "other")}
    with Server(ServerConfig(port=0, no_auth=True, local=local)) as server:
        one, other = (load_remote(server.url, LoadArguments(f"local/{name}")) for name in local)

        assert one.fingerprint == other.fingerprint
        assert list(ComposableIterableDataset(one)) != list(ComposableIterableDataset(other))


def test_a_moved_dataset_is_the_same(tmp_path: Path) -> None:
    """A state belongs to rows, not to a path, a name or a server: a moved dataset takes it."""
    dataset().save_to_disk(str(tmp_path / "here"))
    config = ServerConfig(port=0, no_auth=True, local={"rows": tmp_path / "here"})
    with Server(config) as server:
        iterator = iter(
            ComposableIterableDataset(load_remote(server.url, LoadArguments("local/rows")))
        )
        seen = numbers(list(islice(iterator, 300)))
        state = iterator.state_dict()
        iterator.close()
    (tmp_path / "here").rename(tmp_path / "there")
    config = ServerConfig(port=0, no_auth=True, local={"moved": tmp_path / "there"})
    with Server(config) as server:
        moved = ComposableIterableDataset(load_remote(server.url, LoadArguments("local/moved")))
        moved.load_state_dict(state)

        assert seen + numbers(list(moved)) == list(range(ROWS))
