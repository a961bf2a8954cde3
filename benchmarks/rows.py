"""Rows as a training loop sees them: ``for row in dataset``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from . import product
from .bench import Bench, Benchmark
from .children import served
from .measure import Race, Runner, rows_rate
from .peers import hf, lit, mosaic, row_server
from .report import Line, rate
from .workloads import Workload

REMOTE = "remote"
MANY = 8


def text_rows(bench: Bench, clients: int, kind: str = "text") -> list[Line]:
    """Measure text rows from a server beside every way to read them here.

    FDSS reads all of them, the slower ones fewer: a pass is to take long beside its start.
    """
    workload, rows = bench.text(kind), bench.size(40_000, 2000) // clients
    with ExitStack() as closing:
        server = closing.enter_context(product.running([workload]))
        every = workload.rows // clients
        runners = [remote(server, workload, every), local(workload, every)]
        runners += here(bench, workload, rows, alone=clients == 1)
        if bench.has("row-server"):
            place = {"folder": str(workload.folder), "rows": rows}
            pid, port = closing.enter_context(served(row_server.serve, **place))
            runners.append(Runner("row-by-row server", row_server.rows_read, {"port": port}))
        found = bench.race([replace(one, clients=clients) for one in runners])
    what = {"text": "text rows", "ascii": "text rows, all ASCII"}[kind]
    return beside(found, REMOTE, f"{what}, {clients} clients" if clients > 1 else what)


def other_rows(bench: Bench, kind: str, full_rows: int) -> list[Line]:
    """Measure rows of another kind."""
    workload = bench.workloads.get(kind, bench.size(full_rows, 500))
    with product.running([workload]) as server:
        runners = [remote(server, workload, workload.rows), local(workload, workload.rows)]
        found = bench.race([*runners, *here(bench, workload, workload.rows)])
    return beside(found, REMOTE, f"{kind} rows")


def numpy_rows(bench: Bench) -> list[Line]:
    """Measure token rows as numpy arrays on both sides."""
    if not product.has_formats():
        bench.notes.append("Token rows as numpy arrays: datasets have no with_format here.")
        return []
    workload = bench.workloads.get("tokens", bench.size(20_000, 500))
    with product.running([workload]) as server:
        runners = [
            remote(server, workload, workload.rows, format="numpy"),
            local(workload, workload.rows, format="numpy"),
            *here(bench, workload, workload.rows, format="numpy"),
        ]
        found = bench.race(runners)
    return beside(found, REMOTE, "token rows, with_format('numpy')")


def shuffled_rows(bench: Bench, clients: int) -> list[Line]:
    """Measure shuffled rows (seed, window of 1,000) beside the stored order."""
    workload, rows = bench.text(), bench.size(40_000, 2000) // clients
    every = workload.rows // clients
    with product.running([workload]) as server:
        runners = [
            replace(remote(server, workload, every, shuffled=True), name="shuffled"),
            replace(remote(server, workload, every), name="stored order"),
            replace(local(workload, every, shuffled=True), name="shuffled, FDSS here"),
        ]
        if bench.has("datasets"):
            place = {"folder": str(workload.folder), "rows": rows}
            runners.append(Runner("datasets, buffer of 1,000", hf.shuffled_rows, place))
        found = bench.race([replace(one, clients=clients) for one in runners])
    return beside(found, "shuffled", f"shuffled text rows, {clients} clients")


def remote(
    server: product.Server,
    workload: Workload,
    rows: int,
    shuffled: bool = False,
    format: str | None = None,
) -> Runner:
    """Return a reader of a server."""
    place = {"url": server.url, "name": workload.folder.name, "rows": rows}
    arguments = {**place, "shuffled": shuffled, "format": format}
    return Runner(REMOTE, product.remote_rows, arguments, server=server.pid)


def local(
    workload: Workload, rows: int, shuffled: bool = False, format: str | None = None
) -> Runner:
    """Return a reader of FDSS that needs no server."""
    place = {"folder": str(workload.folder), "rows": rows}
    return Runner(
        "FDSS here", product.local_rows, {**place, "shuffled": shuffled, "format": format}
    )


def here(
    bench: Bench, workload: Workload, rows: int, format: str | None = None, alone: bool = True
) -> list[Runner]:
    """Return the peers that read on this machine, without a server.

    Args:
        alone: One process reads at a time; of many, only ``datasets`` row by row is of interest.
    """
    runners = []
    if bench.has("datasets"):
        place = {"folder": str(workload.folder), "rows": rows, "format": format}
        runners.append(Runner("datasets, for row", hf.local_rows, place))
        if alone:
            by_batch = {**place, "batch_rows": 1000}
            runners.append(Runner("datasets, iter(1000)", hf.local_batches, by_batch))
    if alone and format is None and workload.name in ("text", "ascii", "images"):
        for name, peer in (("mosaic", mosaic), ("litdata", lit)):
            if bench.has(name):
                folder = str(peer.converted(workload, rows))
                runners.append(Runner(name, peer.local_rows, {"folder": folder}))
    return runners


def beside(found: Race, ours: str, what: str) -> list[Line]:
    """Return a line for each other runner of a race, rows a second."""
    own = rate(found.median(ours, rows_rate))
    others: Sequence[str] = [name for name in found.samples if name != ours]
    return [
        Line(
            what,
            own,
            name,
            rate(found.median(name, rows_rate)),
            found.ratio(ours, name, rows_rate),
        )
        for name in others
    ]


BENCHMARKS: dict[str, Benchmark] = {
    "text-rows": partial(text_rows, clients=1),
    "ascii-rows": partial(text_rows, clients=1, kind="ascii"),
    "text-rows-8": partial(text_rows, clients=MANY),
    "token-rows": partial(other_rows, kind="tokens", full_rows=2000),
    "token-rows-numpy": numpy_rows,
    "wide-rows": partial(other_rows, kind="wide", full_rows=10_000),
    "image-rows": partial(other_rows, kind="images", full_rows=4000),
    "shuffled-rows": partial(shuffled_rows, clients=1),
    "shuffled-rows-8": partial(shuffled_rows, clients=MANY),
}
