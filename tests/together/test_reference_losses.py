"""What a training job is known to lose elsewhere is not lost here, each over a real server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pipelines import numbers

from fdss.arguments import LoadArguments
from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.client import ComposableIterableDataset, RemoteBackend, load_remote
from fdss.config import ServerConfig
from fdss.serving import Server

ROWS = 3000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve numbers from 0 to 2999, in three files."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("numbers") / "saved"
    Dataset.from_dict({"n": list(range(ROWS))}).save_to_disk(str(folder), num_shards=3)
    with Server(ServerConfig(port=0, no_auth=True, local={"numbers": Path(folder)})) as running:
        yield running


@pytest.fixture
def remote(server: Server) -> RemoteBackend:
    """Load it through the server, as a process that starts does."""
    return load_remote(server.url, LoadArguments("local/numbers"))


def restarted(remote: RemoteBackend) -> ComposableIterableDataset:
    """Return the dataset of another process: nothing in it has been read from."""
    return ComposableIterableDataset(RemoteBackend(remote.url, remote.handle))


def saved(source: Any) -> Any:
    """Return a state as a checkpoint brings it back."""
    return json.loads(json.dumps(source.state_dict()))


def tenfold(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"n": [10 * n for n in batch["n"]]}


def test_a_shuffle_window_loses_no_row(remote: RemoteBackend) -> None:
    """A job stopped after 500 of 3,000 rows, shuffled in a window of 1,000, sees all 3,000."""
    iterator = iter(ComposableIterableDataset(remote).shuffle(seed=1, buffer_size=1000))
    seen = numbers(list(islice(iterator, 500)))
    resumed = restarted(remote).shuffle(seed=1, buffer_size=1000)
    resumed.load_state_dict(saved(iterator))
    seen += numbers(list(resumed))

    assert len(seen) == ROWS
    assert sorted(seen) == list(range(ROWS))


def test_a_batched_map_loses_no_row(remote: RemoteBackend) -> None:
    """A job stopped within the results of a batched map goes on with the next result."""
    iterator = iter(ComposableIterableDataset(remote).map(tenfold, batched=True, batch_size=100))
    seen = numbers(list(islice(iterator, 450)))
    resumed = restarted(remote).map(tenfold, batched=True, batch_size=100)
    resumed.load_state_dict(saved(iterator))

    assert seen + numbers(list(resumed)) == list(range(0, 10 * ROWS, 10))


def test_a_state_keeps_its_epoch(remote: RemoteBackend) -> None:
    """A job stopped in epoch 3 goes on in the order of epoch 3, also when nothing tells it so."""
    dataset = ComposableIterableDataset(remote).shuffle(seed=7)
    dataset.set_epoch(3)
    expected = numbers(list(dataset))
    iterator = iter(dataset)
    seen = numbers(list(islice(iterator, 1234)))
    resumed = restarted(remote).shuffle(seed=7)
    resumed.load_state_dict(saved(iterator))

    assert seen + numbers(list(resumed)) == expected
    assert sorted(expected) == list(range(ROWS))
    assert expected != numbers(list(ComposableIterableDataset(remote).shuffle(seed=7)))


def test_a_loop_broken_off_starts_over(remote: RemoteBackend) -> None:
    """A second loop after one that was broken off gives every row, and their exact number."""
    dataset = ComposableIterableDataset(remote).filter(lambda row: row["n"] % 2 == 0)
    for row in dataset:
        if row["n"] == 200:
            break

    assert numbers(list(dataset)) == list(range(0, ROWS, 2))
    assert len(dataset) == dataset.get_length_stats()["cached_exact"] == ROWS // 2


def test_derived_datasets_move_only_themselves(remote: RemoteBackend) -> None:
    """Slices, shards and maps of one dataset are read in turns, and each starts at its start."""
    dataset = ComposableIterableDataset(remote)
    iterators = [
        iter(dataset.slice(0, 700)),
        iter(dataset.slice(500, 1200)),
        iter(dataset.shard(3, 1)),
        iter(dataset.map(lambda row: {})),
    ]
    given = [[next(iterator)["n"] for iterator in iterators] for _ in range(300)]

    assert given == [[n, 500 + n, 1000 + n, n] for n in range(300)]


def test_the_end_of_an_epoch_is_the_start_of_the_next(remote: RemoteBackend) -> None:
    """A state of the exact end of an epoch is followed by the next epoch, not by a replay."""
    dataset = ComposableIterableDataset(remote).shuffle(seed=7)
    iterator = iter(dataset)
    seen = list(islice(iterator, ROWS))
    resumed = restarted(remote).shuffle(seed=7)
    resumed.load_state_dict(saved(iterator))
    dataset.set_epoch(1)

    assert resumed.epoch == 1
    assert numbers(list(resumed)) == numbers(list(dataset)) != numbers(seen)


RESTARTED = """
import json, sys
from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, load_remote
dataset = ComposableIterableDataset(load_remote(sys.argv[1], LoadArguments("local/numbers")))
dataset = dataset.shuffle(seed=1).filter(lambda row: row["n"] % 3 == 0).batch(7)
dataset.load_state_dict(json.loads(sys.argv[2]))
print(json.dumps(list(dataset)))
"""


def test_another_process_goes_on(
    remote: RemoteBackend, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """A state that went through a file is enough for a new process to go on with the next row."""
    dataset = ComposableIterableDataset(remote).shuffle(seed=1)
    iterator = iter(dataset.filter(lambda row: row["n"] % 3 == 0).batch(7))
    seen = list(islice(iterator, 100))
    rest = run_python("-c", RESTARTED, remote.url, json.dumps(iterator.state_dict())).stdout

    assert json.loads(rest) == list(iterator)
    assert sorted(n for row in seen + json.loads(rest) for n in row["n"]) == list(range(0, ROWS, 3))


class Recorded:
    """A backend that notes what it is asked for."""

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend
        self.fingerprint = backend.fingerprint
        self.column_names = backend.column_names
        self.features: FeaturesJson = backend.features
        self.asked: list[Selection] = []

    def __len__(self) -> int:
        return len(self._backend)

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        self.asked.append(selection)
        return self._backend.chunks(selection)


def test_no_row_is_read_again(remote: RemoteBackend) -> None:
    """A job stopped after 2,900 rows asks the server for the last 100, and for no other."""
    iterator = iter(ComposableIterableDataset(remote).shuffle(seed=1).map(lambda row: {}))
    list(islice(iterator, 2900))
    backend = Recorded(RemoteBackend(remote.url, remote.handle))
    resumed = ComposableIterableDataset(backend).shuffle(seed=1).map(lambda row: {})
    resumed.load_state_dict(saved(iterator))

    assert len(list(resumed)) == 100
    assert [selection.positions for selection in backend.asked] == [range(2900, ROWS)]


def test_a_shard_reads_its_own_rows(remote: RemoteBackend) -> None:
    """A rank that takes every fourth row asks the server for those, and leaves none unused."""
    backend = Recorded(remote)
    shard = ComposableIterableDataset(backend).shuffle(seed=1).shard(4, 1, contiguous=False)

    assert len(list(shard)) == ROWS // 4
    assert [selection.positions for selection in backend.asked] == [range(1, ROWS, 4)]


def test_every_resume_moves_on(remote: RemoteBackend) -> None:
    """A job that is stopped again and again sees every row once, however often."""
    expected = numbers(list(ComposableIterableDataset(remote).shuffle(seed=4)))
    seen: list[int] = []
    state = saved(iter(ComposableIterableDataset(remote).shuffle(seed=4)))
    while len(seen) < ROWS:
        dataset = restarted(remote).shuffle(seed=4)
        dataset.load_state_dict(state)
        iterator = iter(dataset)
        seen += numbers(list(islice(iterator, 271)))
        state = saved(iterator)

    assert seen == expected


def test_rows_can_be_skipped_by_hand(remote: RemoteBackend) -> None:
    """A position raised in a saved state leaves out rows, as one does at a spike of the loss."""
    dataset = ComposableIterableDataset(remote).shuffle(seed=1)
    expected = numbers(list(dataset))
    iterator = iter(dataset)
    list(islice(iterator, 1000))
    state = saved(iterator)
    state["at"]["position"] += 256
    resumed = restarted(remote).shuffle(seed=1)
    resumed.load_state_dict(state)

    assert numbers(list(resumed)) == expected[1256:]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_after_a_resumed_one_are_whole(remote: RemoteBackend, workers: int) -> None:
    """What a resumed loader has prefetched is not lost, and workers that live on end no epoch."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader() -> Any:
        return StatefulDataLoader(
            ComposableIterableDataset(remote).shuffle(seed=1),
            batch_size=100,
            num_workers=workers,
            collate_fn=numbers,
            persistent_workers=workers > 0,
        )

    first, resumed = loader(), loader()
    batches = iter(first)
    seen = [n for batch in islice(batches, 13) for n in batch]
    resumed.load_state_dict(first.state_dict())
    epochs = [[n for batch in resumed for n in batch] for _ in range(3)]

    assert sorted(seen + epochs[0]) == list(range(ROWS))
    assert [sorted(epoch) for epoch in epochs[1:]] == [list(range(ROWS))] * 2
