"""Bytes as they cross a socket: what the server and the two ends of a stream cost."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from . import product
from .bench import Bench, Benchmark
from .children import served
from .measure import (
    Quantity,
    Race,
    Runner,
    bytes_rate,
    client_cpu_per_gb,
    rows_rate,
    server_cpu_per_gb,
)
from .peers import flight, row_server, sockets, waitress_stock
from .report import Line, megabytes
from .workloads import Workload

FDSS = "fdss"


def arrow_batches(bench: Bench, clients: int) -> list[Line]:
    """Measure record batches from a server beside Arrow Flight: bytes, and CPU of both ends."""
    lines = []
    kinds = (("text", bench.text()), ("tokens", _tokens(bench)))
    times = _times(bench, clients)
    for kind, workload in kinds:
        with ExitStack() as closing:
            runners = _batch_runners(bench, workload, clients, closing)
            found = bench.race([replace(one, times=times) for one in runners])
        what = f"record batches, {kind}, {clients} streams"
        lines += _compared(found, what, bytes_rate)
        lines += _compared(found, f"{what}: server CPU, less is better", server_cpu_per_gb)
        lines += _compared(found, f"{what}: client CPU, less is better", client_cpu_per_gb)
    return lines


def _batch_runners(
    bench: Bench, workload: Workload, clients: int, closing: ExitStack
) -> list[Runner]:
    server = closing.enter_context(product.running([workload]))
    size = {"data_bytes": workload.data_bytes}
    place = {"url": server.url, "name": workload.folder.name, "rows": workload.rows, **size}
    runners = [Runner(FDSS, product.remote_batches, place, clients, server.pid)]
    if bench.has("flight"):
        pid, port = closing.enter_context(served(flight.serve, file=_file(workload)))
        reading = {"port": port, **size}
        runners.append(Runner("flight", flight.batches, reading, clients, pid))
    return runners


def whole_batches(bench: Bench, clients: int) -> list[Line]:
    """Measure one long Arrow answer beside the same bytes from plainer servers."""
    workload, times = bench.text(), _times(bench, clients)
    with ExitStack() as closing:
        server = closing.enter_context(product.running([workload]))
        place = {"port": server.port, "path": server.rows_path(workload)}
        runners = [Runner(FDSS, product.drained, place, clients, server.pid)]
        for peer, serve in (("waitress", waitress_stock.serve), ("sockets", sockets.serve)):
            if bench.has(peer):
                pid, port = closing.enter_context(served(serve, file=_file(workload)))
                runners.append(_plain_runner(peer, port, clients, pid))
        found = bench.race([replace(one, times=times) for one in runners])
    what = f"whole batches drained, {clients} streams"
    cpu = _compared(found, f"{what}: server CPU, less is better", server_cpu_per_gb)
    return [*_compared(found, what, bytes_rate), *cpu]


def _plain_runner(peer: str, port: int, clients: int, pid: int) -> Runner:
    if peer == "sockets":
        place = {"port": port}
        return Runner("plain socket, memory map", sockets.drained, place, clients, pid)
    asked = {"port": port, "path": "/", "arrow": False}
    return Runner("stock waitress, memory map", product.drained, asked, clients, pid)


def ndjson(bench: Bench, clients: int) -> list[Line]:
    """Measure NDJSON by curl beside the row-by-row server.

    In rows, as ``json.dumps`` writes letters beyond ASCII in six bytes; and each reads as many as
    it takes seconds for, so that the start of curl does not count.
    """
    workload = bench.text()
    few = bench.size(40_000, 1000)
    with ExitStack() as closing:
        server = closing.enter_context(product.running([workload]))
        url = f"{server.url}{server.rows_path(workload)}"
        asked = {"url": url, "rows": workload.rows}
        runners = [Runner(FDSS, product.curled, asked, clients, server.pid, times=4)]
        if bench.has("row-server"):
            arguments = {"folder": str(workload.folder), "rows": few}
            pid, port = closing.enter_context(served(row_server.serve, **arguments))
            asked = {"url": f"http://127.0.0.1:{port}/rows", "rows": few}
            runners.append(Runner("row-by-row server", product.curled, asked, clients, pid))
        found = bench.race(runners)
    what = f"NDJSON by curl, {clients} streams"
    return [*_compared(found, what, rows_rate), *_compared(found, what, bytes_rate)]


def _compared(found: Race, what: str, quantity: Quantity) -> list[Line]:
    others = [name for name in found.samples if name != FDSS]
    own = _figure(found.median(FDSS, quantity), quantity)
    return [
        Line(
            what,
            own,
            name,
            _figure(found.median(name, quantity), quantity),
            found.ratio(FDSS, name, quantity),
        )
        for name in others
    ] or [Line(what, own)]


def _figure(value: float, quantity: Quantity) -> str:
    if quantity is bytes_rate:
        return megabytes(value)
    return f"{value:,.0f} rows/s" if quantity is rows_rate else f"{value:.2f} s/GB"


def _times(bench: Bench, clients: int) -> int:
    """Return how often a pass reads: some gigabytes, so that the ticks of the CPU's clock do."""
    return bench.size(max(1, 16 // clients), 1)


def _tokens(bench: Bench) -> Workload:
    return bench.workloads.get("tokens", bench.size(20_000, 500))


def _file(workload: Workload) -> str:
    [file] = workload.folder.glob("*.arrow")
    return str(file)


BENCHMARKS: dict[str, Benchmark] = {
    "arrow-batches": partial(arrow_batches, clients=1),
    "arrow-batches-8": partial(arrow_batches, clients=8),
    "whole-batches": partial(whole_batches, clients=1),
    "whole-batches-8": partial(whole_batches, clients=8),
    "ndjson": partial(ndjson, clients=1),
    "ndjson-8": partial(ndjson, clients=8),
}
