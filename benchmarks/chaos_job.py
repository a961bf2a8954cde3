"""The job that ``benchmarks.chaos`` disturbs: it prints a line an epoch, for ever.

Run as ``python chaos_job.py FOLDER WORKERS``; the environment says which cluster.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from fdss.arguments import LoadArguments
from fdss.backend import Row
from fdss.client import (
    ComposableIterableDataset,
    ResilientRemoteBackend,
    Transfer,
    local_load,
)
from fdss.client.cluster import RouterSession
from fdss.client.finding import ClusterRouter, Found

SEED = 7
BATCH_ROWS = 32
#: The orders that are read in turn.
EPOCHS = 3
#: Little, so that most misfortunes meet rows that are still to be asked for.
READ_AHEAD_BYTES = 1 << 20


class CountingRouter(ClusterRouter):
    """The router, and how often a server of its failed a reader.

    Attributes:
        failures: Of all workers.
    """

    def __init__(self, session: RouterSession) -> None:
        super().__init__(session)
        self.failures = multiprocessing.Value("l", 0)

    def suspect(self, found: Found) -> None:
        """Count it."""
        with self.failures.get_lock():
            self.failures.value += 1
        super().suspect(found)


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
    router = CountingRouter(RouterSession())
    transfer = Transfer(read_ahead_bytes=READ_AHEAD_BYTES)
    rows = ResilientRemoteBackend(LoadArguments("local/rows"), router, transfer=transfer)
    remote = prepared(ComposableIterableDataset(rows))
    local = prepared(ComposableIterableDataset(local_load(LoadArguments(folder))))
    undisturbed = [epoch_of(local, epoch, workers) for epoch in range(EPOCHS)]
    for epoch, expected in enumerate(itertools.cycle(undisturbed)):
        found = epoch_of(remote, epoch % EPOCHS, workers)
        is_right = found.shape == expected.shape and bool((found == expected).all())
        told = "right" if is_right else f"WRONG: {len(np.unique(found[:, 0]))} different rows"
        failures = router.failures.value
        print(f"epoch {epoch}: {len(found)} rows, {failures} failures, {told}", flush=True)


if __name__ == "__main__":
    main()
