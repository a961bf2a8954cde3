"""Opening a dataset: the first row of a small and of a large one, and the index before it."""

from __future__ import annotations

import time

from fdss.arguments import LoadArguments
from fdss.client import ComposableIterableDataset, local_load

from . import product
from .bench import Bench, Benchmark
from .children import Amount, Read
from .measure import Race, Runner, Sample
from .report import Line
from .workloads import Workload

FEW_BATCHES = 200
ROWS_A_BATCH = 2
ROUNDS = 9


def first_row(bench: Bench) -> list[Line]:
    """Measure open and first row of many batches beside few, and the index of the many."""
    many_batches = bench.size(200_000, 2000)
    few, many = _tiny(bench, FEW_BATCHES), _tiny(bench, many_batches)
    runners = [_opener("few", few), _opener("many", many)]
    built = bench.race([_opener("built", many, anew=True)])
    found = bench.race(runners)
    opened_s = found.median("many", _seconds)
    batch_us = (built.median("built", _seconds) - opened_s) / many_batches * 1e6
    return [
        Line(
            f"open here and first row, {many_batches:,} batches",
            _milliseconds(found, "many"),
            f"{FEW_BATCHES} batches",
            _milliseconds(found, "few"),
            found.ratio("many", "few", _seconds),
        ),
        Line(f"index of {many_batches:,} batches", f"{batch_us:.1f} µs a batch"),
        *_over_http(few, many),
    ]


def _over_http(few: Workload, many: Workload) -> list[Line]:
    seconds = {}
    with product.running([few, many]) as server:
        for name, workload in (("few", few), ("many", many)):
            read = first_remote_row(server.url, workload.folder.name)
            times = []
            for _ in range(ROUNDS):
                began_s = time.perf_counter()
                read()
                times.append(time.perf_counter() - began_s)
            seconds[name] = sorted(times)[ROUNDS // 2]
    return [
        Line(
            f"load of an open dataset and first row by HTTP, {many.rows // ROWS_A_BATCH:,} batches",
            f"{seconds['many'] * 1e3:.1f} ms",
            f"{FEW_BATCHES} batches",
            f"{seconds['few'] * 1e3:.1f} ms",
            seconds["many"] / seconds["few"],
        )
    ]


def first_remote_row(url: str, name: str) -> Read:
    """Return a pass that asks a server to load a dataset and reads its first row."""

    def read() -> Amount:
        dataset = ComposableIterableDataset(product.backend(url, name))
        next(iter(dataset))
        return Amount(1)

    return read


def first_local_row(folder: str, anew: bool) -> Read:
    """Return a pass that opens a dataset of this machine and reads its first row.

    Args:
        anew: Build the index of record batches although there is one.
    """

    def read() -> Amount:
        found = local_load(LoadArguments(folder), force_reindex=anew)
        next(iter(ComposableIterableDataset(found)))
        return Amount(1)

    return read


def _opener(name: str, workload: Workload, anew: bool = False) -> Runner:
    return Runner(name, first_local_row, {"folder": str(workload.folder), "anew": anew})


def _tiny(bench: Bench, batches: int) -> Workload:
    return bench.workloads.get("tiny", batches * ROWS_A_BATCH, ROWS_A_BATCH)


def _seconds(sample: Sample) -> float:
    return sample.seconds


def _milliseconds(found: Race, name: str) -> str:
    return f"{found.median(name, _seconds) * 1e3:.1f} ms"


BENCHMARKS: dict[str, Benchmark] = {"opening": first_row}
