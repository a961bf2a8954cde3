"""A run over a server resumes as exactly as one over local files, and each for the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pipelines import double, grow, is_odd
from resuming import assert_resumes_everywhere

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Backend
from fdss.client import ComposableIterableDataset, RemoteBackend, Transfer, load_remote
from fdss.config import ServerConfig
from fdss.errors import StateRefused
from fdss.serving import Server
from fdss.storage import Folder, OpenOptions, open_dataset

ROWS = 23

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save 23 rows in two files."""
    from datasets import Dataset

    saved = tmp_path_factory.mktemp("rows") / "saved"
    rows = {"n": list(range(ROWS)), "text": [f"row {n}" for n in range(ROWS)]}
    Dataset.from_dict(rows).save_to_disk(str(saved), num_shards=2)
    return saved


@pytest.fixture(scope="module")
def backends(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Backend]]:
    """Open the same rows here, and at a server with each kind of body."""
    options = OpenOptions(
        tmp_path_factory.mktemp("index"), places.datasets_cache(), places.hub_cache()
    )
    with Server(ServerConfig(port=0, no_auth=True, local={"rows": folder})) as server:
        handle = load_remote(server.url, LoadArguments("local/rows")).handle
        yield {
            "local": open_dataset(Folder(folder), LoadArguments(str(folder)), options),
            "arrow": RemoteBackend(server.url, handle),
            "zstd": RemoteBackend(server.url, handle, transfer=Transfer(compression="zstd")),
            "ndjson": RemoteBackend(server.url, handle, transfer=Transfer("ndjson")),
        }


PIPES: dict[str, Pipe] = {
    "stored": lambda ds: ds,
    "shuffled-window": lambda ds: ds.shuffle(seed=7, buffer_size=8, block_size=4),
    "sliced-then-shuffled": lambda ds: ds.slice(2, 20).shuffle(seed=7, buffer_size=5, block_size=2),
    "shard-of-shuffled": lambda ds: ds.shuffle(seed=7, block_size=2).shard(3, 1),
    "strided": lambda ds: ds.shuffle(seed=7, block_size=2).shard(3, 1, contiguous=False),
    "columns": lambda ds: ds.select_columns("n").shuffle(seed=1).map(double),
    "filtered": lambda ds: ds.filter(is_odd).with_indices(),
    "grown": lambda ds: ds.map(grow, batched=True, batch_size=5, remove_columns="text"),
    "batches": lambda ds: ds.shuffle(seed=7).batch(4),
}


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("backend", ["local", "arrow", "ndjson"])
def test_resumes_everywhere(backends: dict[str, Backend], backend: str, pipe: str) -> None:
    """Every pipeline over every backend resumes at every row, exactly."""
    assert_resumes_everywhere(lambda: PIPES[pipe](ComposableIterableDataset(backends[backend])))


@pytest.mark.parametrize("pipe", PIPES)
def test_states_cross_between_backends(backends: dict[str, Backend], pipe: str) -> None:
    """A state saved from any backend restores into any other of the same content."""
    expected = list(PIPES[pipe](ComposableIterableDataset(backends["local"])))
    for saved_from in backends.values():
        iterator = iter(PIPES[pipe](ComposableIterableDataset(saved_from)))
        begun = [next(iterator) for _ in range(3)]
        state = json.dumps(iterator.state_dict())
        for restored_into in backends.values():
            resumed = PIPES[pipe](ComposableIterableDataset(restored_into))
            resumed.load_state_dict(json.loads(state))

            assert begun + list(resumed) == expected


def test_another_content_refuses_a_state(backends: dict[str, Backend], tmp_path: Path) -> None:
    """Rows that differ in one value are another content, whatever their number and columns."""
    from datasets import Dataset

    rows: dict[str, list[Any]] = {"n": list(range(ROWS)), "text": [f"row {n}" for n in range(ROWS)]}
    rows["text"][11] = "another row"
    Dataset.from_dict(rows).save_to_disk(str(tmp_path / "saved"))
    options = OpenOptions(tmp_path / "index", places.datasets_cache(), places.hub_cache())
    arguments = LoadArguments(str(tmp_path / "saved"))
    other = open_dataset(Folder(tmp_path / "saved"), arguments, options)
    state = ComposableIterableDataset(backends["arrow"]).state_dict()

    with pytest.raises(StateRefused, match="content"):
        ComposableIterableDataset(other).load_state_dict(state)
