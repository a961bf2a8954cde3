"""What a shuffled order costs to read: measured warm and cold, and computed from a model."""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.storage import ArrowBackend, Folder, OpenOptions, open_dataset

from .workloads import Workload

SEED = 5
PREADS = 300
FIRST_PAGE_ROWS = 256
Choice = tuple[int, int]

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Drive:
    """A model of a drive, with no more than one stream reading it.

    A read takes ``latency_s`` and the time of its bytes. ``depth`` reads wait at the same time,
    and share the bandwidth. The kernel reads ahead, so that none has fewer bytes than that.
    """

    name: str
    latency_s: float
    bytes_per_s: float
    depth: int
    read_ahead_bytes: int = 128 << 10

    def read_s(self, size_bytes: float) -> float:
        """Return the seconds of a random read, when as many as can wait at the same time do."""
        transfer_s = max(size_bytes, self.read_ahead_bytes) / self.bytes_per_s
        return max((self.latency_s + transfer_s) / self.depth, transfer_s)


DRIVES = (
    Drive("NVMe-like, one read at a time", 100e-6, 3e9, 1),
    Drive("NVMe-like, 64 at a time", 100e-6, 3e9, 64),
    Drive("spinning disk", 8e-3, 150e6, 1),
)


@dataclass(frozen=True)
class Rates:
    """Rows for a second of CPU, of choices that took turns, one rate of each a round."""

    rounds: Mapping[Choice, Sequence[float]]

    def median(self, choice: Choice) -> float:
        """Return the median of a choice."""
        return statistics.median(self.rounds[choice])

    def ratio(self, choice: Choice, other: Choice) -> float:
        """Return the median, over the rounds, of one choice's rate by another's."""
        pairs = zip(self.rounds[choice], self.rounds[other], strict=True)
        return statistics.median(one / two for one, two in pairs)


@dataclass(frozen=True)
class Cold:
    """Rows, or random reads, of a file of which the kernel had nothing in memory.

    Attributes:
        rows_per_s: Median of the rounds.
        read_bytes: What came from the disk for a row, median.
    """

    rows_per_s: float
    read_bytes: float


def opened(folder: Path) -> ArrowBackend:
    """Return a dataset, whose index is kept beside its folder."""
    beside = folder.parent / "index"
    return open_dataset(Folder(folder), LoadArguments("x"), OpenOptions(beside, beside, beside))


def warm_batches(workload: Workload, choices: Sequence[Choice], rows: int, rounds: int) -> Rates:
    """Return the rates of record batches, no row of which is made."""
    backend = opened(workload.folder)

    def read(choice: Choice) -> int:
        block, window = choice
        selection = Selection(range(len(backend)), range(rows), SEED, block, window)
        return sum(len(chunk) for chunk in backend.chunks(selection))

    return _turns(choices, read, rounds)


def warm_rows(workload: Workload, choices: Sequence[Choice], rows: int, rounds: int) -> Rates:
    """Return the rates of ``for row in dataset``."""
    # Imports torch where it is installed, which those that read cold need not wait for.
    from fdss.client import ComposableIterableDataset

    stored = ComposableIterableDataset(opened(workload.folder))

    def read(choice: Choice) -> int:
        block, window = choice
        shuffled = stored.shuffle(seed=SEED, buffer_size=window, block_size=block)
        return sum(1 for _ in shuffled.take(rows))

    return _turns(choices, read, rounds)


def cold_batches(workload: Workload, choice: Choice, rows: int, rounds: int) -> Cold:
    """Return what the first rows of an order cost when nothing of the file is in memory."""
    return _colds(_cold_batches, workload, choice, rows, rounds)


def cold_reads(workload: Workload, block: int, rounds: int) -> Cold:
    """Return what blocks at random places cost, read one after another without reading ahead."""
    return _colds(_cold_reads, workload, (block, 0), PREADS * block, rounds)


def first_page_reads(block: int, window: int) -> float:
    """Return in how many blocks the first page of an epoch lies, on average."""
    if window <= block:
        return FIRST_PAGE_ROWS / block
    blocks = window / block
    missed = 1.0
    for row in range(FIRST_PAGE_ROWS):
        missed *= max(0.0, window - block - row) / (window - row)
    return blocks * (1 - missed)


def _turns(choices: Sequence[Choice], read: Callable[[Choice], int], rounds: int) -> Rates:
    rates: dict[Choice, list[float]] = {choice: [] for choice in choices}
    for number in range(rounds + 1):
        for choice in choices:
            # Seconds of CPU: of a quiet machine they are those of the clock, as one thread reads.
            began_s = time.process_time()
            rows = read(choice)
            seconds = time.process_time() - began_s
            # The first round only brings the file into memory.
            if number:
                rates[choice].append(rows / seconds)
    return Rates(rates)


ReadOnce = Callable[[Path, Choice, int], tuple[float, int]]


def _colds(read: ReadOnce, workload: Workload, choice: Choice, rows: int, rounds: int) -> Cold:
    """Return the medians of reads, each by a process of its own: what is mapped is not dropped."""
    found = []
    for _ in range(rounds):
        with ProcessPoolExecutor(1, _SPAWN) as pool:
            found.append(pool.submit(read, workload.folder, choice, rows).result())
    return Cold(
        rows / statistics.median(seconds for seconds, _ in found),
        statistics.median(size for _, size in found) / rows,
    )


def _cold_batches(folder: Path, choice: Choice, rows: int) -> tuple[float, int]:
    block, window = choice
    backend = opened(folder)
    # What the first rows import is no cost of reading; these are the last of the file.
    few = range(len(backend))[-FIRST_PAGE_ROWS:]
    for chunk in backend.chunks(Selection(few, range(len(few)), SEED, 1)):
        chunk.rows()
    selection = Selection(range(len(backend)), range(rows), SEED, block, window)
    _dropped(folder)
    began_s, began_bytes = time.perf_counter(), _read_bytes()
    for batch in backend.chunks(selection):
        batch.rows()
    return time.perf_counter() - began_s, _read_bytes() - began_bytes


def _cold_reads(folder: Path, choice: Choice, rows: int) -> tuple[float, int]:
    block, _ = choice
    file = _dropped(folder)
    size, stored = file.stat().st_size, len(opened(folder))
    length = size * block // stored
    places = np.random.default_rng(SEED).integers(0, size - length, rows // block).tolist()
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    began_s, began_bytes = time.perf_counter(), _read_bytes()
    for place in places:
        os.pread(descriptor, length, place)
    seconds, read_bytes = time.perf_counter() - began_s, _read_bytes() - began_bytes
    os.close(descriptor)
    return seconds, read_bytes


def _dropped(folder: Path) -> Path:
    """Return the one file of a dataset, of which the kernel has been told to keep nothing."""
    [file] = folder.glob("*.arrow")
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    return file


def _read_bytes() -> int:
    """Return what this process has had read from disks, pages of mapped files included."""
    found = re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
