"""The orders that are scored: order v1, the ideal, a model of the reference, and peers."""

from __future__ import annotations

import importlib
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdss.order import Order, epoch_seed

Rows = NDArray[np.int64]

#: Rows of a file, for whoever shuffles files: 64 MiB of rows of 2.6 KB.
FILE_ROWS = 25_000
BLOCKS = (1, 4, 8, 16, 64, 256)
WINDOWS = (0, 1000, 10_000, 100_000)
BLOCK = 16
IDEAL = "full permutation"
PEERS = {
    "datasets": ("datasets", "datasets"),
    "mosaic": ("streaming.base.shuffle", "mosaicml-streaming"),
    "grain": ("grain", "grain"),
}
_MOSAIC_BLOCKS = {"default block": 4_000_000, "block 2^18": 1 << 18}
# Those that its header recommends; its datasets take four.
_GRAIN_ROUNDS = 8


@dataclass(frozen=True)
class Shuffled:
    """One way to shuffle.

    Attributes:
        name: What the tables call it.
        rows: Called with a count, a seed and an epoch; returns the stored rows in the order in
            which they are read.
    """

    name: str
    rows: Callable[[int, int, int], Rows]


def ours(block: int, window: int) -> Shuffled:
    """Return order v1."""

    def rows(count: int, seed: int, epoch: int) -> Rows:
        order = Order(count, epoch_seed(seed, epoch), block, window)
        return order.rows(np.arange(count, dtype=np.int64))

    return Shuffled(our_name(block, window), rows)


def our_name(block: int, window: int) -> str:
    """Return what the tables call order v1."""
    return f"FDSS, block {block}, window {window:,}"


def ideal() -> Shuffled:
    """Return the full permutation, every row anywhere with the same probability."""
    return Shuffled(
        IDEAL,
        lambda count, seed, epoch: np.random.default_rng([seed, epoch]).permutation(count),
    )


def files_and_buffer(size: int) -> Shuffled:
    """Return the files in a random order, through a buffer from which random rows leave.

    It models the Forgather dataset server, whose seed of an epoch is a sum.
    """

    def rows(count: int, seed: int, epoch: int) -> Rows:
        files = [np.arange(begin, end) for begin, end in _files(count)]
        random.Random(seed + epoch).shuffle(files)
        stream = np.concatenate(files).tolist()
        buffer, left = stream[:size], []
        slots = np.random.default_rng([seed, epoch]).integers(0, size, max(0, count - size))
        for slot, row in zip(slots.tolist(), stream[size:], strict=True):
            left.append(buffer[slot])
            buffer[slot] = row
        random.Random(seed + epoch).shuffle(buffer)
        return np.array(left + buffer, np.int64)

    return Shuffled(f"file shuffle, buffer {size:,}", rows)


def peers(wanted: Sequence[str], notes: list[str]) -> list[Shuffled]:
    """Return the shuffles of other packages; notes which of those are not installed."""
    makers = {"datasets": _of_datasets, "mosaic": _of_mosaic, "grain": _of_grain}
    found = []
    for peer in wanted:
        module, package = PEERS[peer]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found += makers[peer](importlib.import_module(module))
        except ImportError as error:
            notes.append(f"Not compared with {peer}: {package} ({error}).")
    return found


def _of_datasets(package: Any) -> list[Shuffled]:
    def rows(count: int, seed: int, epoch: int) -> Rows:
        stored = package.Dataset.from_dict({"row": np.arange(count)})
        stream = stored.to_iterable_dataset(num_shards=len(_files(count)))
        stream = stream.shuffle(seed=seed, buffer_size=1000)
        stream.set_epoch(epoch)
        return np.fromiter((row["row"] for row in stream), np.int64, count)

    return [Shuffled("datasets, streamed, buffer 1,000", rows)]


def _of_mosaic(package: Any) -> list[Shuffled]:
    def made(algorithm: str, block: int) -> Callable[[int, int, int], Rows]:
        def rows(count: int, seed: int, epoch: int) -> Rows:
            sizes = np.array([end - begin for begin, end in _files(count)])
            found = package.get_shuffle(algorithm, sizes, 1, seed, epoch, block)
            return np.asarray(found, np.int64)

        return rows

    return [
        *(
            Shuffled(f"Mosaic py1e, {told}", made("py1e", block))
            for told, block in _MOSAIC_BLOCKS.items()
        ),
        Shuffled("Mosaic py1br, block 2^18", made("py1br", 1 << 18)),
    ]


def _of_grain(package: Any) -> list[Shuffled]:
    index_shuffle = importlib.import_module("grain.experimental").index_shuffle

    def dataset(count: int, seed: int, epoch: int) -> Rows:
        shuffled = package.MapDataset.range(count).shuffle(seed=seed)
        # It counts on over its epochs, of rows as of positions.
        places = range(epoch * count, (epoch + 1) * count)
        return np.fromiter((shuffled[place] % count for place in places), np.int64, count)

    def rounds(count: int, seed: int, epoch: int) -> Rows:
        rows = (
            index_shuffle(place, max_index=count - 1, seed=seed + epoch, rounds=_GRAIN_ROUNDS)
            for place in range(count)
        )
        return np.fromiter(rows, np.int64, count)

    return [
        Shuffled("Grain, MapDataset.shuffle", dataset),
        Shuffled(f"Grain, index_shuffle of {_GRAIN_ROUNDS} rounds", rounds),
    ]


def _files(count: int) -> list[tuple[int, int]]:
    starts = range(0, count, FILE_ROWS)
    return [(begin, min(begin + FILE_ROWS, count)) for begin in starts]
