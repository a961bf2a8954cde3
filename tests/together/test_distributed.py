"""Ranks over a server: the rows of local ranks, and no others asked for."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from raw_server import Request, raw_servers, response

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Backend, Runs, Selection
from fdss.client import (
    ComposableIterableDataset,
    InMemoryBackend,
    RemoteBackend,
    Transfer,
    load_remote,
)
from fdss.client.iteration import Cursor
from fdss.client.lengths import Lengths
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.storage import Folder, OpenOptions, open_dataset

ROWS = 601
MANY = 1_000_000

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save 601 numbers in three files."""
    from datasets import Dataset

    saved = tmp_path_factory.mktemp("rows") / "saved"
    Dataset.from_dict({"n": list(range(ROWS))}).save_to_disk(str(saved), num_shards=3)
    return saved


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a million numbers."""
    from datasets import Dataset

    saved = tmp_path_factory.mktemp("large") / "saved"
    Dataset(pa.table({"n": pa.array(np.arange(MANY))})).save_to_disk(str(saved))
    return saved


@pytest.fixture(scope="module")
def server(folder: Path, large_folder: Path) -> Iterator[Server]:
    """Serve both."""
    local = {"rows": folder, "large": large_folder}
    with Server(ServerConfig(port=0, no_auth=True, local=local)) as running:
        yield running


@pytest.fixture(scope="module")
def backends(
    server: Server, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Backend]:
    """Open the same rows here, at the server with each kind of body, and in memory."""
    index = tmp_path_factory.mktemp("index")
    options = OpenOptions(index, places.datasets_cache(), places.hub_cache())
    handle = load_remote(server.url, LoadArguments("local/rows")).handle
    return {
        "local": open_dataset(Folder(folder), LoadArguments(str(folder)), options),
        "arrow": RemoteBackend(server.url, handle),
        "ndjson": RemoteBackend(server.url, handle, transfer=Transfer("ndjson")),
        "memory": InMemoryBackend([{"n": n} for n in range(ROWS)]),
    }


def rows_of(backend: Backend, selection: Selection) -> list[int]:
    return [row["n"] for chunk in backend.chunks(selection) for row in chunk.rows()]


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    begin, end = sorted(draw(st.tuples(*[st.integers(0, ROWS)] * 2)))
    rows = range(ROWS)[begin : end : draw(st.integers(1, 5))]
    first, last = sorted(draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    run_rows = draw(st.integers(1, 40))
    return Selection(
        rows=rows,
        positions=range(len(rows))[first : last : draw(st.integers(1, 4))],
        seed=draw(st.none() | st.integers(0, 99)),
        block=draw(st.integers(1, 40)),
        window=draw(st.sampled_from([0, 7, 100])),
        runs=Runs(run_rows, draw(st.integers(1, 5)), draw(st.integers(0, run_rows - 1))),
    )


@settings(max_examples=40, deadline=None)
@given(selection=selections(), part=st.tuples(st.integers(0, 600), st.integers(0, 600)))
def test_runs_are_the_same_from_everywhere(
    backends: dict[str, Backend], selection: Selection, part: tuple[int, int]
) -> None:
    """Runs of any selection, and parts of it, are the same rows here and from a server."""
    expected = rows_of(backends["memory"], selection)
    some = selection.part(*part)

    assert len(expected) == len(selection)
    for name in ("local", "arrow", "ndjson"):
        assert rows_of(backends[name], selection) == expected
    for backend in backends.values():
        assert rows_of(backend, some) == expected[part[0] : part[0] + part[1]]


VIEWS: list[Pipe] = [
    lambda ds: ds,
    lambda ds: ds.shuffle(seed=7, buffer_size=50),
    lambda ds: ds.shuffle(seed=7, buffer_size=0).slice(20, 500),
]


@pytest.mark.parametrize("tail", ["pad", "drop", "uneven"])
@pytest.mark.parametrize("backend", ["local", "arrow", "ndjson"])
def test_ranks_are_the_same_from_everywhere(
    backends: dict[str, Backend], backend: str, tail: str
) -> None:
    """A rank and each of its workers gives the same rows wherever they lie."""
    for pipe in VIEWS:
        for worker in (None, (0, 2), (1, 2)):
            here, there = (
                pipe(ComposableIterableDataset(backends[name])).distribute(2, 3, 16, tail)
                for name in ("memory", backend)
            )
            assert [row["n"] for row in passed(there, worker)] == [
                row["n"] for row in passed(here, worker)
            ]


@pytest.mark.parametrize("format_", ["python", "numpy", "arrow", "pandas"])
@pytest.mark.parametrize("backend", ["local", "arrow", "ndjson"])
def test_formats_are_of_a_ranks_rows(
    backends: dict[str, Backend], backend: str, format_: str
) -> None:
    """Batches and numbers in any format are those of the rank, and its state says how many."""

    def make() -> ComposableIterableDataset:
        dataset = ComposableIterableDataset(backends[backend]).shuffle(seed=7)
        return dataset.with_format(format_).with_indices().distribute(1, 3, 16)

    order = [row["n"] for row in ComposableIterableDataset(backends["memory"]).shuffle(seed=7)]
    iterator = make().iter(32)
    begun = [next(iterator), next(iterator)]
    dataset = make()
    dataset.load_state_dict(json.loads(json.dumps(iterator.state_dict())))
    batches = [*begun, *dataset.iter(32)]
    numbers = [int(n) for batch in batches for n in listed(batch["n"])]
    places = [int(place) for batch in batches for place in listed(batch["index"])]

    assert iterator.state_dict()["at"]["source"] == make().state_after(4)["at"]["source"]
    assert places == [place % ROWS for place in range(1, 624, 3)]
    assert numbers == [order[place] for place in places]


def listed(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return values


def passed(
    dataset: ComposableIterableDataset, worker: tuple[int, int] | None
) -> list[dict[str, Any]]:
    """Return the rows of a pass, or those of one DataLoader worker."""
    if worker is None:
        return list(dataset)
    return list(Cursor(dataset._pipeline.for_worker(*worker), 0, Lengths()).rows())


@dataclass
class Forwarder:
    """A server before the server, which sees the pages and may hold some back.

    Attributes:
        most_pages: Pages that are answered; None for all.
        asked: Requests for pages.
        rows: Rows of the pages that were answered, as their headers say.
    """

    url: str
    most_pages: int | None = None
    asked: list[Request] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request, connection: socket.socket) -> None:
        """Answer as the server does, unless it is a page too many."""
        is_page = request.path.endswith("/iter")
        if is_page:
            self.asked.append(request)
            if self.most_pages is not None and len(self.asked) > self.most_pages:
                self.ending.wait()
                return
        told = {name: request.headers[name] for name in ("accept", "if-match")
                if name in request.headers}  # fmt: skip
        forwarded = urllib.request.Request(self.url + request.target, headers=told)
        with urllib.request.urlopen(forwarded) as answered:
            headers = {
                name: value
                for name, value in answered.headers.items()
                if name.lower().startswith(("fdss-", "etag"))
            }
            if is_page:
                self.rows.append(int(answered.headers["FDSS-Rows"]))
            content_type, body = answered.headers["Content-Type"], answered.read()
        connection.sendall(response(body, content_type=content_type, headers=headers))


@pytest.fixture
def forwarder(server: Server) -> Iterator[tuple[str, Forwarder]]:
    """Start a server before the server."""
    forwarding = Forwarder(server.url)
    with raw_servers() as start:
        yield start(forwarding.answer).url, forwarding
        forwarding.ending.set()


@pytest.mark.parametrize("body", ["arrow", "ndjson"])
@pytest.mark.parametrize("worker", [None, (1, 3)])
def test_only_needed_rows_are_asked_for(
    server: Server, forwarder: tuple[str, Forwarder], body: str, worker: tuple[int, int] | None
) -> None:
    """The server sends exactly the rows that a rank, or one worker of it, gives."""
    url, forwarding = forwarder
    handle = load_remote(server.url, LoadArguments("local/rows")).handle
    backend = RemoteBackend(url, handle, transfer=Transfer(body))
    dataset = ComposableIterableDataset(backend).shuffle(seed=7).distribute(1, 4, 8)
    rows = passed(dataset, worker)

    assert len(rows) == (152 if worker is None else 48)
    assert sum(forwarding.rows) == len(rows)


def test_a_run_moves_between_server_and_files(backends: dict[str, Backend]) -> None:
    """A state of ranks at a server goes on with other ranks over local files."""

    def make(name: str) -> ComposableIterableDataset:
        return ComposableIterableDataset(backends[name]).shuffle(seed=7).map(dict)

    order = [row["n"] for row in make("local")]
    ranks = [iter(make("arrow").distribute(rank, 4, 8)) for rank in range(4)]
    parts = [list(islice(rank, 10)) for rank in ranks]
    state = json.loads(json.dumps(ranks[3].state_dict()))
    rest = []
    for rank in range(2):
        dataset = make("local").distribute(rank, 2, 3, "uneven")
        dataset.load_state_dict(state)
        rest.append([row["n"] for row in dataset])
    begun = [row["n"] for rows in zip(*parts, strict=True) for row in rows]

    assert begun == order[:40]
    assert sorted(begun + rest[0] + rest[1]) == list(range(ROWS))
    assert rest[0] == order[40::2]


LARGE: dict[str, Pipe] = {
    "sharded": lambda ds: ds.shard(3, 1),
    "strided": lambda ds: ds.shard(3, 1, contiguous=False),
    "distributed": lambda ds: ds.distribute(1, 3, 64),
}


@pytest.mark.parametrize("part", LARGE)
def test_a_large_run_resumes_with_one_request(
    server: Server, forwarder: tuple[str, Forwarder], part: str
) -> None:
    """A million rows, shuffled, shared out and mapped, go on at any row after one page request."""
    handle = load_remote(server.url, LoadArguments("local/large")).handle

    def make(url: str) -> ComposableIterableDataset:
        dataset = ComposableIterableDataset(RemoteBackend(url, handle)).shuffle(seed=7)
        return LARGE[part](dataset).map(lambda row, at: {"at": at}, with_indices=True)

    url, forwarding = forwarder
    forwarding.most_pages = 1
    dataset = make(url)
    state = dataset.state_dict()
    place = 271_828 * (3 if part == "distributed" else 1)
    state["at"] = {"source": {"position": place}, "seen": place}
    dataset.load_state_dict(state)
    iterator = iter(dataset)
    row = next(iterator)
    iterator.close()
    reference = make(server.url)
    reference.load_state_dict(state)

    assert row == next(iter(reference))
    assert row["at"] == place + (part == "distributed")
    assert forwarding.rows == [256]
