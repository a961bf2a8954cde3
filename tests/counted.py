"""What processes do whose reading is counted, where one that is spawned finds it too."""

from __future__ import annotations

from typing import Any

from pipelines import numbers

from fdss.client import ComposableIterableDataset

ROWS = 203


def loader(dataset: ComposableIterableDataset, workers: int, **options: Any) -> Any:
    """Return a DataLoader of batches of 7 rows."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, batch_size=7, num_workers=workers, collate_fn=numbers, **options)


def read_as_a_rank(
    dataset: ComposableIterableDataset, context: str, told: Any, barrier: Any
) -> None:
    """Read through workers in a process that was itself started with the dataset."""
    alone = len(list(dataset)), dataset.stats().total.rows
    barrier.wait(60)
    through_workers = sum(map(len, loader(dataset, 2, multiprocessing_context=context)))
    barrier.wait(60)
    statistics = dataset.stats()
    workers = [reader.worker for reader in statistics.readers]
    told.put((alone, through_workers, statistics.total.rows, workers))


def started(dataset: ComposableIterableDataset, epoch: int, go: Any, told: Any) -> None:
    """Tell the epoch of a dataset that the main process has dropped."""
    go.wait(60)
    dataset.set_epoch(epoch)
    told.put((epoch, dataset.epoch))
