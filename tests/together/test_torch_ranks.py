"""Training loops of torch on several ranks: the same batches with any workers, and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pipelines import double, is_odd, numbers

from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, RemoteBackend, load_remote
from fdss.config import ServerConfig
from fdss.errors import StateRefused
from fdss.serving import Server

pytestmark = [
    pytest.mark.torch,
    # The number of workers is what is tested, whatever the number of cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # torchdata 0.11 under a newer torch.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]

ROWS = 203
BATCH_ROWS = 7


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteBackend]:
    """Serve numbers from 0 to 202."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("numbers") / "saved"
    Dataset.from_dict({"n": list(range(ROWS))}).save_to_disk(str(folder))
    with Server(ServerConfig(port=0, no_auth=True, local={"numbers": Path(folder)})) as server:
        yield RemoteBackend(
            server.url, load_remote(server.url, LoadArguments("local/numbers")).handle
        )


def rank_of(
    backend: RemoteBackend, rank: int, world_size: int, tail: str = "pad", batch: int = BATCH_ROWS
) -> ComposableIterableDataset:
    dataset = ComposableIterableDataset(backend).shuffle(seed=7).map(double)
    return dataset.distribute(rank, world_size, batch, tail)


def loader(dataset: ComposableIterableDataset, workers: int, **options: Any) -> Any:
    from torch.utils.data import DataLoader

    told = dataset.distribution
    assert told is not None
    return DataLoader(
        dataset,
        batch_size=told.batch_size,
        num_workers=workers,
        collate_fn=numbers,
        **options,
    )


def turns(ranks: list[list[list[int]]]) -> list[int]:
    """Return the batches of ranks in the order of the places: step by step, row by row."""
    steps = zip(*ranks, strict=True)
    return [n for step in steps for row in zip(*step, strict=True) for n in row]


def order_of(backend: RemoteBackend, epoch: int = 0) -> list[int]:
    dataset = ComposableIterableDataset(backend).shuffle(seed=7)
    dataset.set_epoch(epoch)
    return [row["n"] for row in dataset]


@pytest.mark.parametrize("tail", ["pad", "drop", "uneven"])
def test_batches_do_not_depend_on_workers(backend: RemoteBackend, tail: str) -> None:
    """The k-th batch of a rank is the same with 0, 2 and 3 workers, and there are as many."""
    for rank in (0, 2):
        dataset = rank_of(backend, rank, 3, tail)
        batches = list(loader(dataset, 0))

        assert len(loader(dataset, 0)) == len(batches)
        for workers in (2, 3):
            assert list(loader(dataset, workers)) == batches


def test_spawned_workers_give_the_same(backend: RemoteBackend) -> None:
    """Spawned workers hear of a loaded state as forked ones do, for one pass."""
    dataset = rank_of(backend, 1, 2)
    dataset.load_state_dict(dataset.state_after(9))
    expected = list(loader(rank_of(backend, 1, 2), 0))
    spawned = loader(dataset, 1, multiprocessing_context="spawn")

    assert list(spawned) == expected[9:]
    assert list(spawned) == expected


@pytest.mark.parametrize("workers", [(0, 2, 3), (3, 0, 2), (2, 3, 0)])
def test_a_run_goes_on_with_other_ranks_and_workers(
    backend: RemoteBackend, workers: tuple[int, int, int]
) -> None:
    """Stopped and started on 2, 3 and 1 ranks with other workers and batches, no row is lost."""
    order, place, state = order_of(backend), 0, None
    for world_size, batch, count in zip((2, 3, 1), (7, 4, 5), workers, strict=True):
        ranks = []
        for rank in range(world_size):
            dataset = rank_of(backend, rank, world_size, batch=batch)
            if state is not None:
                dataset.load_state_dict(json.loads(state))
            batches = iter(loader(dataset, count))
            ranks.append(list(islice(batches, 4)))
            saved = json.dumps(dataset.state_after(4))
        state = saved
        begun, place = place, place + 4 * world_size * batch

        assert turns(ranks) == order[begun:place]
    rest = ComposableIterableDataset(backend).shuffle(seed=7).map(double)
    rest.load_state_dict(json.loads(state or ""))

    assert [row["n"] for row in rest] == order[place:]


@pytest.mark.parametrize("persistent", [False, True])
def test_the_epoch_after_a_resumed_one_is_whole(
    backend: RemoteBackend, persistent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers go on from a loaded state once, with and without ``set_epoch`` behind it."""
    dataset = rank_of(backend, 0, 2)
    dataset.load_state_dict(dataset.state_after(10))
    batches = loader(dataset, 2, persistent_workers=persistent)
    first = list(batches)
    again = list(batches)
    dataset.set_epoch(1)
    following = list(batches)

    assert "gives up" not in caplog.text
    assert again[10:] == first
    assert len(again) == len(following) == 15
    assert dataset.state_after(1)["at"]["source"] == {"position": 14}
    assert [n for batch in again for n in batch][:100] == order_of(backend)[:200:2]
    assert [n for batch in following for n in batch][:100] == order_of(backend, 1)[:200:2]


def test_living_workers_hear_of_a_loaded_state(backend: RemoteBackend) -> None:
    """A state that is loaded between two epochs reaches workers that live on."""
    dataset = rank_of(backend, 0, 2)
    batches = loader(dataset, 2, persistent_workers=True)
    whole = list(batches)
    dataset.load_state_dict(dataset.state_after(5))

    assert list(batches) == whole[5:]


def stateful_loader(dataset: ComposableIterableDataset, workers: int) -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(
        dataset, batch_size=BATCH_ROWS, num_workers=workers, collate_fn=numbers
    )


@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_stateful_loader_resumes_a_rank(
    backend: RemoteBackend, workers: int, is_filtered: bool
) -> None:
    """A state of torchdata's loader, saved at a batch of a rank, is followed by what was then."""

    def make(rank: int = 1) -> ComposableIterableDataset:
        dataset = rank_of(backend, rank, 3)
        dataset.load_state_dict(rank_of(backend, 0, 2, batch=3).state_after(2))
        return dataset.filter(is_odd) if is_filtered else dataset

    whole = stateful_loader(make(), workers)
    states, batches = [], []
    for batch in whole:
        batches.append(batch)
        states.append(json.dumps(whole.state_dict()))
    next_epoch = list(whole)

    for place in (0, 3, len(states) - 1):
        resumed = stateful_loader(make(), workers)
        resumed.load_state_dict(json.loads(states[place]))

        assert list(resumed) == batches[place + 1 :]
        assert list(resumed) == next_epoch


def test_a_worker_of_another_rank_refuses_a_state(backend: RemoteBackend) -> None:
    """A worker's state is its own rank's."""
    saving = stateful_loader(rank_of(backend, 1, 3), 2)
    next(iter(saving))
    loading = stateful_loader(rank_of(backend, 0, 3), 2)
    loading.load_state_dict(saving.state_dict())

    with pytest.raises(StateRefused, match="rank 1 of 3"):
        next(iter(loading))
