"""Training loops of torch over a server: every row once, in an order that can be told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pipelines import double, grow, is_odd, numbers

from fdss.client import ComposableIterableDataset, fast_load_iterable_dataset
from fdss.client.readahead import THREAD_NAME
from fdss.config import ServerConfig
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

Pipe = Callable[[ComposableIterableDataset], ComposableIterableDataset]

PIPES: dict[str, Pipe] = {
    "stored": lambda ds: ds,
    "shuffled": lambda ds: ds.shuffle(seed=7),
    "mapped": lambda ds: ds.shuffle(seed=7).map(double).filter(is_odd),
    "grown": lambda ds: ds.map(grow, batched=True, batch_size=10),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve numbers from 0 to 202."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("numbers") / "saved"
    Dataset.from_dict({"n": list(range(ROWS))}).save_to_disk(str(folder))
    with Server(ServerConfig(port=0, no_auth=True, local={"numbers": Path(folder)})) as running:
        yield running


@pytest.fixture
def dataset(server: Server, monkeypatch: pytest.MonkeyPatch) -> ComposableIterableDataset:
    """Load it through the server."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER", server.url)
    return fast_load_iterable_dataset("local/numbers")


def loader(dataset: ComposableIterableDataset, workers: int, **options: Any) -> Any:
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset, batch_size=BATCH_ROWS, num_workers=workers, collate_fn=numbers, **options
    )


def stateful_loader(dataset: ComposableIterableDataset, workers: int, every: int) -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(
        dataset,
        batch_size=BATCH_ROWS,
        num_workers=workers,
        collate_fn=numbers,
        snapshot_every_n_steps=every,
    )


def flat(batches: Any) -> list[int]:
    return [n for batch in batches for n in batch]


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_it_is_an_iterable_dataset_of_torch(dataset: ComposableIterableDataset) -> None:
    """torch takes it for what it is."""
    from torch.utils.data import IterableDataset

    assert isinstance(dataset, IterableDataset)


@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_every_row_comes_once(dataset: ComposableIterableDataset, workers: int, pipe: str) -> None:
    """Any number of forked workers gives every row once, in the same order each time."""
    piped = PIPES[pipe](dataset)
    expected = sorted(row["n"] for row in piped)
    options: dict[str, Any] = {"prefetch_factor": 3} if workers else {}
    batches = loader(piped, workers, **options)
    first = flat(batches)

    assert sorted(first) == expected
    assert flat(batches) == first
    assert not reading_threads()


def test_spawned_workers(dataset: ComposableIterableDataset) -> None:
    """Spawned workers give what forked ones give."""
    piped = dataset.shuffle(seed=7).map(double).filter(is_odd)
    spawned = flat(loader(piped, 2, multiprocessing_context="spawn"))

    assert spawned == flat(loader(piped, 2))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_live_on_hear_of_the_epoch(
    dataset: ComposableIterableDataset, context: str
) -> None:
    """``set_epoch`` reaches persistent workers, and the order is that of new ones."""
    piped = dataset.shuffle(seed=7)
    living = loader(piped, 2, persistent_workers=True, multiprocessing_context=context)
    orders = []
    for epoch in range(3):
        piped.set_epoch(epoch)
        orders.append(flat(living))
    again = dataset.shuffle(seed=7)
    again.set_epoch(2)

    assert [sorted(order) for order in orders] == [list(range(ROWS))] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert flat(loader(again, 2)) == orders[2]


def test_a_broken_loop_leaves_nothing(dataset: ComposableIterableDataset) -> None:
    """A loop that is broken off ends its workers and its reading thread, and can start over."""
    import torch.multiprocessing

    for workers in (0, 2):
        batches = loader(dataset, workers)
        for first in batches:
            assert first == list(range(BATCH_ROWS))
            break
        del batches

        assert flat(loader(dataset, workers)) != []
    assert not torch.multiprocessing.active_children()
    for thread in reading_threads():
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("pipe", ["shuffled", "grown"])
def test_a_stateful_loader_resumes(
    dataset: ComposableIterableDataset, pipe: str, workers: int, every: int
) -> None:
    """A state of torchdata's loader, saved at any batch, is followed by what followed it then.

    It is saved and restored twice in a row, and the next epoch comes after it.
    """
    whole = stateful_loader(PIPES[pipe](dataset), workers, every)
    states, batches = [], []
    for batch in whole:
        batches.append(batch)
        states.append(json.dumps(whole.state_dict()))
    next_epoch = list(whole)

    for place in range(0, len(states), 9 if workers else 1):
        resumed = stateful_loader(PIPES[pipe](dataset), workers, every)
        resumed.load_state_dict(json.loads(states[place]))
        rest = iter(resumed)
        more = list(islice(rest, 2))
        again = stateful_loader(PIPES[pipe](dataset), workers, every)
        again.load_state_dict(json.loads(json.dumps(resumed.state_dict())))

        assert more == batches[place + 1 : place + 3]
        assert list(again) == (batches[place + 3 :] if len(more) == 2 else next_epoch)
    last = stateful_loader(PIPES[pipe](dataset), workers, every)
    last.load_state_dict(json.loads(states[-1]))

    assert list(last) == []
    assert list(last) == next_epoch
