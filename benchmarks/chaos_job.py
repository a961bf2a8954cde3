"""The job that ``benchmarks.chaos`` disturbs: it prints a line an epoch, for ever.

Run as ``python -m benchmarks.chaos_job FOLDER WORKERS``; the environment says which cluster.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from fdss.arguments import LoadArguments
from fdss.backend import Row
from fdss.client import ComposableIterableDataset, fast_load_iterable_dataset, local_load

SEED = 7
BATCH_ROWS = 32


def doubled(row: Row) -> Row:
    """Add a column, and drop the text."""
    return {"n": row["n"], "double": 2 * row["n"], "size": len(row["text"])}


def prepared(dataset: ComposableIterableDataset) -> ComposableIterableDataset:
    """Return what the job reads."""
    return dataset.shuffle(seed=SEED, buffer_size=500).map(doubled, remove_columns="text")


def epoch_of(dataset: ComposableIterableDataset, epoch: int, workers: int) -> Any:
    """Return the rows of an epoch, in the order of a DataLoader: int64 of (rows, 3)."""
    dataset.set_epoch(epoch)
    loader = DataLoader(dataset, batch_size=BATCH_ROWS, num_workers=workers)
    return np.concatenate([np.stack(list(batch.values()), axis=1) for batch in _batches(loader)])


def _batches(loader: DataLoader[Row]) -> Iterator[dict[str, Any]]:
    for batch in loader:
        yield {name: values.numpy() for name, values in batch.items()}


def main() -> None:
    """Read epoch after epoch, and tell of each whether it is that of a local reader."""
    folder, workers = sys.argv[1], int(sys.argv[2])
    remote = prepared(fast_load_iterable_dataset("local/rows"))
    local = prepared(ComposableIterableDataset(local_load(LoadArguments(folder))))
    for epoch in itertools.count():
        found = epoch_of(remote, epoch, workers)
        expected = epoch_of(local, epoch, workers)
        is_right = found.shape == expected.shape and bool((found == expected).all())
        told = "right" if is_right else f"WRONG: {len(np.unique(found[:, 0]))} different rows"
        print(f"epoch {epoch}: {len(found)} rows, {told}", flush=True)


if __name__ == "__main__":
    main()
