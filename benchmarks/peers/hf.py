"""HuggingFace ``datasets``, reading the folder on the same machine."""

from __future__ import annotations

from ..children import Amount, Read, counted


def local_rows(folder: str, rows: int, format: str | None = None) -> Read:
    """Return a pass with ``for row in dataset``."""
    from datasets import load_from_disk

    dataset = load_from_disk(folder).select(range(rows)).with_format(format)
    return counted(dataset)


def local_batches(folder: str, rows: int, batch_rows: int, format: str | None = None) -> Read:
    """Return a pass with ``for batch in dataset.iter(batch_rows)``; columns, never rows."""
    from datasets import load_from_disk

    dataset = load_from_disk(folder).select(range(rows)).with_format(format)

    def read() -> Amount:
        count = 0
        for batch in dataset.iter(batch_rows):
            count += len(next(iter(batch.values())))
        return Amount(count)

    return read


def shuffled_rows(folder: str, rows: int) -> Read:
    """Return a pass over ``to_iterable_dataset().shuffle(buffer_size=1000)``."""
    from datasets import load_from_disk

    dataset = load_from_disk(folder).select(range(rows)).to_iterable_dataset()
    dataset = dataset.shuffle(seed=7, buffer_size=1000)
    return counted(dataset)
