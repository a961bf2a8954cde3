"""What a reader keeps: its memory while it reads on and on, and its rows after a fork."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from fdss.client import ComposableIterableDataset

from . import product
from .bench import Bench, Benchmark
from .children import Amount, Read, Reader
from .processes import memory_bytes
from .report import Line
from .workloads import Row, check_of

PARTS = 4
WORKERS = 8
LOOK_ROWS = 5000


def memory(bench: Bench) -> list[Line]:
    """Measure a reader's memory over some gigabytes of rows, by quarters of the pass."""
    volume = bench.workloads.repeated(bench.text(), bench.size(20, 4))
    lines = []
    with product.running([volume]) as server:
        for order, shuffled in (("stored order", False), ("shuffled", True)):
            place = {"url": server.url, "name": volume.folder.name, "rows": volume.rows}
            most = _passed(most_memory, {**place, "shuffled": shuffled}).memory_bytes
            lines.append(
                Line(
                    f"a reader's memory above its imports, {order}, {volume.data_bytes / 1e9:.1f}"
                    " GB: most in the last quarter",
                    f"{most[-1] / 2**20:.0f} MiB",
                    "most in the first",
                    f"{most[0] / 2**20:.0f} MiB",
                    most[-1] / most[0] if most[0] else None,
                )
            )
    return lines


def most_memory(url: str, name: str, rows: int, shuffled: bool) -> Read:
    """Return a pass that looks at its own memory."""
    import pyarrow.ipc  # noqa: F401  what any reader imports

    began_bytes = memory_bytes(os.getpid())
    dataset = ComposableIterableDataset(product.backend(url, name))
    dataset = dataset.shuffle(seed=7, buffer_size=1000) if shuffled else dataset

    def read() -> Amount:
        most = [0] * PARTS
        for number, _ in enumerate(dataset):
            if number % LOOK_ROWS == 0:
                part = number * PARTS // rows
                most[part] = max(most[part], memory_bytes(os.getpid()) - began_bytes)
        return Amount(rows, memory_bytes=tuple(most))

    return read


def forks(bench: Bench) -> list[Line]:
    """Count wrong rows of forked workers whose parent had a connection of its own."""
    workload, rows = bench.text(), bench.size(100_000, 2000)
    with product.running([workload]) as server:
        place = {"url": server.url, "name": workload.folder.name, "rows": rows}
        amount = _passed(forked_readers, place)
    what = f"{WORKERS} forked workers, {rows:,} rows each, every row checked"
    return [Line(what, f"{amount.wrong_rows} wrong rows of {amount.rows:,}")]


def forked_readers(url: str, name: str, rows: int) -> Read:
    """Return a pass of workers that are forked while their parent reads.

    Half of them go on with the parent's iterator, half begin one of their own.
    """
    dataset = ComposableIterableDataset(product.backend(url, name)).slice(0, rows)
    context = multiprocessing.get_context("fork")

    def read() -> Amount:
        told: Any = context.SimpleQueue()
        with closing(iter(dataset)) as parents:
            first = next(parents)
            workers = [
                context.Process(target=_check, args=(told, dataset, parents if n % 2 else None))
                for n in range(WORKERS)
            ]
            for worker in workers:
                worker.start()
            wrong = [told.get() for _ in workers]
            for worker in workers:
                worker.join()
            # And the parent's own rows, of which the first has been taken.
            wrong.append(wrong_rows(first, parents, rows))
        return Amount(rows * (WORKERS + 1), wrong_rows=sum(wrong))

    return read


def _check(told: Any, dataset: ComposableIterableDataset, parents: Iterator[Row] | None) -> None:
    rows = len(dataset)
    try:
        reader = iter(dataset)
        first = next(reader)
        told.put(wrong_rows(first, reader if parents is None else parents, rows))
    except BaseException:
        told.put(rows)
        raise


def wrong_rows(first: Row, rest: Iterator[Row], rows: int) -> int:
    """Return how many of the rows from 0 on are missing, too many, or not what is stored."""
    good = count = 0
    for number, row in enumerate(_joined(first, rest)):
        good += row["id"] == number and row["check"] == check_of(number, row["text"])
        count += 1
    return max(rows, count) - good


def _joined(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _passed(make: Any, arguments: dict[str, Any]) -> Amount:
    reader = Reader(make, arguments)
    try:
        reader.begin()
        return reader.result().amount
    finally:
        reader.close()


BENCHMARKS: dict[str, Benchmark] = {"memory": memory, "forks": forks}
