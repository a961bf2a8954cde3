"""What ``ds.stats()`` tells in the main process of a DataLoader with workers, while they read."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counted import ROWS, loader, read_as_a_rank, started

from fdss.client import ComposableIterableDataset, InMemoryBackend, fast_load_iterable_dataset
from fdss.config import ServerConfig
from fdss.serving import Server

pytestmark = [
    pytest.mark.torch,
    # The number of workers is what is tested, whatever the number of cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


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


def test_without_workers_the_process_itself_reads(
    dataset: ComposableIterableDataset, server: Server
) -> None:
    """Without workers there is one reader, the process itself."""
    assert sum(map(len, loader(dataset, 0))) == ROWS
    (reader,) = dataset.stats().readers

    assert (reader.worker, reader.rows, reader.servers) == (None, ROWS, (server.url,))


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_every_worker_is_seen(
    dataset: ComposableIterableDataset, server: Server, context: str
) -> None:
    """The main process sees what each worker has read, and the sum."""
    piped = dataset.shuffle(seed=7)
    assert sum(map(len, loader(piped, 2, multiprocessing_context=context))) == ROWS
    told = piped.stats()

    assert [(r.worker, r.rows, r.position, r.is_over) for r in told.readers] == [
        (0, 102, 102, True),
        (1, 101, 101, True),
    ]
    assert (told.total.rows, told.total.requests, told.total.servers) == (ROWS, 2, (server.url,))
    assert told.total.received_bytes > 8 * ROWS
    assert told.total.wait_p50_s > 0
    assert dataset.stats().readers == ()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_live_on_count_every_epoch_anew(
    dataset: ComposableIterableDataset, context: str
) -> None:
    """Persistent workers begin their counts anew with each epoch, and name it."""
    living = loader(dataset, 2, persistent_workers=True, multiprocessing_context=context)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert sum(map(len, living)) == ROWS
        told = dataset.stats()

        assert [(reader.epoch, reader.rows) for reader in told.readers] == [
            (epoch, 102),
            (epoch, 101),
        ]


def test_it_is_seen_while_workers_read(dataset: ComposableIterableDataset) -> None:
    """In the middle of an epoch the workers are there, and not at their end."""
    batches = iter(loader(dataset, 2, prefetch_factor=1))
    next(batches)
    told = dataset.stats()
    del batches

    assert told.readers[0].chunks == 1
    assert not told.readers[0].is_over


def test_the_next_loader_is_the_one_that_is_told(dataset: ComposableIterableDataset) -> None:
    """Workers of a loader that has gone are no part of what the next one tells."""
    for workers in (3, 1, 2, 0):
        assert sum(map(len, loader(dataset, workers))) == ROWS
        told = dataset.stats()

        assert len(told.readers) == max(workers, 1)
        assert told.total.rows == ROWS


def test_a_killed_worker_leaves_its_counts(dataset: ComposableIterableDataset) -> None:
    """What a killed worker has read stays told until the next one begins anew."""
    batches = iter(loader(dataset, 1, prefetch_factor=1))
    next(batches)
    os.kill(batches._workers[0].pid, 9)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(batches)
    (left,) = dataset.stats().readers
    assert sum(map(len, loader(dataset, 1))) == ROWS
    (reader,) = dataset.stats().readers

    assert (left.worker, left.is_over) == (0, False)
    assert (reader.rows, reader.is_over) == (ROWS, True)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_ranks_that_share_a_dataset_are_counted_apart(context: str) -> None:
    """Processes that were started with one dataset see their own workers, not each other's."""
    dataset = ComposableIterableDataset(InMemoryBackend([{"n": n} for n in range(ROWS)]))
    processes: Any = multiprocessing.get_context(context)
    told, barrier = processes.Queue(), processes.Barrier(2)
    arguments = (dataset, context, told, barrier)
    ranks = [processes.Process(target=read_as_a_rank, args=arguments) for _ in range(2)]
    for rank in ranks:
        rank.start()
    found = [told.get(timeout=120) for _ in ranks]
    for rank in ranks:
        rank.join()

    assert found == [((ROWS, ROWS), ROWS, ROWS, [0, 1])] * 2
    assert dataset.stats().readers == ()


def test_the_line_comes_from_each_worker(
    dataset: ComposableIterableDataset,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A spawned worker, in which no logging is set up, shows its line on standard error."""
    monkeypatch.setenv("FORGATHER_DATASET_CLIENT_STATS", "1")
    assert sum(map(len, loader(dataset, 2, multiprocessing_context="spawn"))) == ROWS
    shown = capfd.readouterr().err

    for worker, rows in ((0, 102), (1, 101)):
        assert f"local/numbers, epoch 0, worker {worker}/2: {rows} rows in " in shown


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_process_keeps_the_memory_it_was_started_with(context: str) -> None:
    """Memory of a dataset that was given to a process is not used again for another dataset."""
    processes: Any = multiprocessing.get_context(context)
    go, told = processes.Event(), processes.Queue()
    dataset = ComposableIterableDataset(InMemoryBackend([{"n": 1}]))
    process = processes.Process(target=started, args=(dataset.take(1), 7, go, told))
    process.start()
    later = [dataset.take(1) for _ in range(100)]
    go.set()
    assert told.get(timeout=60) == (7, 7)
    process.join()

    assert {each.epoch for each in later} == {0}
