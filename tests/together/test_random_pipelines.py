"""Pipelines drawn at random give what lists give, and resume at every row."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from random_drawing import examples, pipelines, ragged_rows
from random_functions import Repeat, columns_of
from random_pipelines import BatchMap, Pipeline, parts
from resuming import assert_resumes_everywhere

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Backend
from fdss.client import (
    ComposableIterableDataset,
    InMemoryBackend,
    RemoteBackend,
    Transfer,
    load_remote,
)
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.storage import Folder, OpenOptions, open_dataset

#: Rows of the stored datasets: one, a few in two files, and more than one page.
SIZES = (1, 13, 600)
WHERE = ("memory", "local", "arrow", "ndjson")
COLUMNS = ("n", "text", "tags", "maybe")

Backends = dict[tuple[str, int], Backend]


def stored_rows(count: int) -> list[dict[str, Any]]:
    """Return the rows of a stored dataset."""
    return [
        {"n": n, "text": "x" * (n % 3), "tags": [n] * (n % 4), "maybe": n if n % 5 else None}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Open every dataset in memory, here, and at a server with both kinds of body."""
    from datasets import Dataset, Features, List, Value

    integer = Value("int64")
    kinds = Features(n=integer, text=Value("string"), tags=List(integer), maybe=integer)
    folder = tmp_path_factory.mktemp("rows")
    for size in SIZES:
        dataset = Dataset.from_dict(columns_of(stored_rows(size)), kinds)
        dataset.save_to_disk(str(folder / str(size)), num_shards=min(2, size))
    options = OpenOptions(folder / "index", places.datasets_cache(), places.hub_cache())
    local = {f"rows{size}": folder / str(size) for size in SIZES}
    found: Backends = {}
    with Server(ServerConfig(port=0, no_auth=True, local=local)) as server:
        for size in SIZES:
            path = folder / str(size)
            handle = load_remote(server.url, LoadArguments(f"local/rows{size}")).handle
            found["memory", size] = InMemoryBackend(stored_rows(size))
            found["local", size] = open_dataset(Folder(path), LoadArguments(str(path)), options)
            found["arrow", size] = RemoteBackend(server.url, handle)
            found["ndjson", size] = RemoteBackend(server.url, handle, transfer=Transfer("ndjson"))
        yield found


def in_lists(pipeline: Pipeline, size: int, epoch: int) -> tuple[list[Any], list[Any]]:
    """Return the rows of an epoch and of the next one, by operations on lists."""
    rows = stored_rows(size)
    return pipeline.expected(rows, epoch), pipeline.expected(rows, epoch + 1)


@examples(60)
@given(data=st.data(), rows=ragged_rows(), epoch=st.integers(0, 2))
def test_rows_of_a_program(data: st.DataObject, rows: list[Any], epoch: int) -> None:
    """Any pipeline over rows in memory, None and empty ones too, gives what lists give."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row or ()))
    pipeline = data.draw(pipelines(len(rows), columns, uniform=all(rows)))
    dataset = pickle.dumps(pipeline.on(ComposableIterableDataset(InMemoryBackend(rows))))

    given = assert_resumes_everywhere(lambda: pickle.loads(dataset), epoch)

    assert given == (pipeline.expected(rows, epoch), pipeline.expected(rows, epoch + 1))


@pytest.mark.parametrize("where", WHERE)
@examples(10)
@given(data=st.data(), size=st.sampled_from(SIZES[:2]), epoch=st.integers(0, 2))
def test_stored_rows(
    backends: Backends, where: str, data: st.DataObject, size: int, epoch: int
) -> None:
    """Any pipeline over a backend of any kind gives what lists give, and resumes everywhere."""
    pipeline = data.draw(pipelines(size, COLUMNS))
    backend = backends[where, size]

    given = assert_resumes_everywhere(
        lambda: pipeline.on(ComposableIterableDataset(backend)), epoch
    )

    assert given == in_lists(pipeline, size, epoch)


@examples(25)
@given(data=st.data(), where=st.sampled_from(WHERE[:2]))
def test_columns_are_told_beforehand(backends: Backends, data: st.DataObject, where: str) -> None:
    """``column_names`` are those of the first row, and ``features``, if known, those of each."""
    pipeline = data.draw(pipelines(13, COLUMNS))
    dataset = pipeline.on(ComposableIterableDataset(backends[where, 13]))
    rows, told = list(dataset), dataset.features

    for row in rows[:1]:
        assert dataset.column_names == list(row)
    if told is not None:
        table = pa.Table.from_pylist(rows, schema=told.arrow_schema)
        assert table.to_pylist() == rows or not told
        assert all(list(row) == list(told) for row in rows)


@pytest.mark.parametrize("where", WHERE)
@examples(3)
@given(data=st.data(), epoch=st.integers(0, 2))
def test_rows_of_many_pages(
    backends: Backends, where: str, data: st.DataObject, epoch: int
) -> None:
    """Where a page, a chunk or a file ends is not to be seen in the rows, nor in the states."""
    pipeline = data.draw(pipelines(SIZES[-1], COLUMNS))
    backend = backends[where, SIZES[-1]]

    given = assert_resumes_everywhere(
        lambda: pipeline.on(ComposableIterableDataset(backend)), epoch, restored=4
    )

    assert given == in_lists(pipeline, SIZES[-1], epoch)


@examples(12)
@given(data=st.data(), order=st.permutations(WHERE[1:]), jumps=st.lists(st.integers(0, 5)))
def test_one_pass_over_many_backends(
    backends: Backends, data: st.DataObject, order: list[str], jumps: list[int]
) -> None:
    """One pass may go on over another backend after any row, any number of times."""
    pipeline = data.draw(pipelines(13, COLUMNS))
    given: list[Any] = []
    state: str | None = None
    for at, jump in enumerate([*jumps, None]):
        dataset = pipeline.on(ComposableIterableDataset(backends[order[at % len(order)], 13]))
        if state is not None:
            dataset.load_state_dict(json.loads(state))
        dataset.set_epoch(0)
        iterator = iter(dataset)
        given += islice(iterator, jump)
        state = json.dumps(iterator.state_dict())

    assert given == in_lists(pipeline, 13, 0)[0]


@examples(20)
@given(
    data=st.data(),
    world_size=st.integers(1, 4),
    batch_size=st.integers(1, 4),
    tail=st.sampled_from(["pad", "drop", "uneven"]),
    epoch=st.integers(0, 2),
)
def test_ranks(
    backends: Backends,
    data: st.DataObject,
    world_size: int,
    batch_size: int,
    tail: str,
    epoch: int,
) -> None:
    """Each rank of any pipeline gives what lists give of every n-th place, and resumes anywhere."""
    pipeline = data.draw(pipelines(13, COLUMNS, counts=False))
    rank = data.draw(st.integers(0, world_size - 1))

    def make() -> ComposableIterableDataset:
        dataset = pipeline.on(ComposableIterableDataset(backends["local", 13]))
        return dataset.distribute(rank, world_size, batch_size, tail)

    def share(places: list[Any]) -> list[Any]:
        step = world_size * batch_size
        short = len(places) % step
        if short and tail == "drop":
            places = places[:-short]
        elif short and tail == "pad":
            places = list(islice(cycle(places), len(places) - short + step))
        return places[rank::world_size]

    given = assert_resumes_everywhere(make, epoch)

    rows = stored_rows(13)
    assert given == (
        pipeline.expected(rows, epoch, share),
        pipeline.expected(rows, epoch + 1, share),
    )


class Batches:
    """A dataset whose rows are what ``iter(batch_size)`` gives, or formatted rows, in Python."""

    def __init__(self, dataset: ComposableIterableDataset, batching: tuple[int, bool] | None):
        self._dataset = dataset
        self._batching = batching
        self.set_epoch = dataset.set_epoch
        self.state_dict = dataset.state_dict
        self.load_state_dict = dataset.load_state_dict

    def __iter__(self) -> Any:
        dataset, batching = self._dataset, self._batching
        inner = iter(dataset) if batching is None else dataset.iter(*batching)

        class Plain:
            state_dict = inner.state_dict
            load_state_dict = inner.load_state_dict

            def __iter__(self) -> Plain:
                return self

            def __next__(self) -> Any:
                return plain(next(inner), is_batch=batching is not None)

        return Plain()


def plain(value: Any, *, is_batch: bool) -> Any:
    """Return a row or a batch of any format in Python values."""
    if isinstance(value, pa.Table):
        value = value.to_pydict()
    elif type(value).__module__.startswith("pandas"):
        value = {name: list(value[name]) for name in value.columns}
    else:
        return _listed(value)
    return _listed(value if is_batch else {name: cells[0] for name, cells in value.items()})


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(cell) for name, cell in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(cell) for cell in value]
    if isinstance(value, np.ndarray | np.generic):
        return _listed(value.tolist()) if value.ndim else value.item()
    return value


@pytest.mark.parametrize("where", ["memory", "local", "ndjson"])
@pytest.mark.parametrize("format_", ["python", "numpy", "arrow", "pandas"])
@examples(6)
@given(
    data=st.data(),
    batching=st.none() | st.tuples(st.integers(1, 5), st.booleans()),
)
def test_formats(
    backends: Backends,
    where: str,
    format_: str,
    data: st.DataObject,
    batching: tuple[int, bool] | None,
) -> None:
    """Rows and batches of every format hold the values that lists hold, and resume everywhere."""
    columns = ("n", "text", "tags")
    pipeline = data.draw(pipelines(13, columns, formats=True))

    def make() -> Any:
        source = ComposableIterableDataset(backends[where, 13]).select_columns(columns)
        return Batches(pipeline.on(source).with_format(format_), batching)

    given = assert_resumes_everywhere(make)

    rows = [{name: row[name] for name in columns} for row in stored_rows(13)]
    for epoch, items in enumerate(given):
        expected = pipeline.expected(rows, epoch)
        if batching is not None:
            expected = [columns_of(part) for _, part in parts(expected, *batching)]
        assert items == expected


def test_many_results_of_one_batch(backends: Backends) -> None:
    """A state in the middle of a batch's results crosses to every other backend."""
    pipeline = Pipeline((BatchMap(Repeat((3, 0, 2)), False, (), 5, False),))
    expected = in_lists(pipeline, 13, 0)[0]
    for saved_from in WHERE[1:]:
        iterator = iter(pipeline.on(ComposableIterableDataset(backends[saved_from, 13])))
        given = list(islice(iterator, 4))
        assert iterator.state_dict()["at"]["emitted"]
        for restored_into in WHERE[1:]:
            dataset = pipeline.on(ComposableIterableDataset(backends[restored_into, 13]))
            dataset.load_state_dict(json.loads(json.dumps(iterator.state_dict())))

            assert given + list(dataset) == expected
