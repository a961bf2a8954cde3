"""Clients that do not read: what they cost, and whether others are still answered."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from fdss.wire import names

from . import product
from .bench import Bench, Benchmark
from .processes import memory_bytes
from .report import Line

CLIENTS = 256


def stalled_clients(bench: Bench) -> list[Line]:
    """Measure health, a load and one reader more, before and while nobody else reads."""
    workload, clients = bench.text(), bench.size(CLIENTS, 20)
    with ExitStack() as closing:
        server = closing.enter_context(product.running([workload]))
        path = server.rows_path(workload)
        # The first answers also pay for what is made once.
        _answers(server, workload.folder.name, path)
        before = _answers(server, workload.folder.name, path)
        began_bytes = memory_bytes(server.pid)
        for number in range(clients):
            closing.enter_context(_stalled(server.port, path, arrow=number % 2 == 0))
        during = _answers(server, workload.folder.name, path)
        grown_bytes = memory_bytes(server.pid) - began_bytes
    lines = [
        Line(
            f"{what}, {clients} clients that do not read",
            f"{seconds * 1e3:,.1f} ms",
            "none of them",
            f"{before[what] * 1e3:,.1f} ms",
            seconds / before[what],
        )
        for what, seconds in during.items()
    ]
    each = f"{grown_bytes / clients / 2**20:.2f} MiB"
    return [*lines, Line("server memory for a client that does not read", each)]


def _answers(server: product.Server, name: str, path: str) -> dict[str, float]:
    load = {"path": f"local/{name}"}
    calls = {
        "health": lambda: product.asked(server.port, names.HEALTH_PATH),
        "load": lambda: product.asked(server.port, names.LOAD_PATH, load),
        "one reader more": product.drained(server.port, path),
    }
    seconds = {}
    for what, call in calls.items():
        began_s = time.perf_counter()
        call()
        seconds[what] = time.perf_counter() - began_s
    return seconds


def _stalled(port: int, path: str, *, arrow: bool) -> socket.socket:
    """Return a connection whose answer has begun and is not read on."""
    client = socket.create_connection(("127.0.0.1", port), 60)
    client.sendall(product.request_bytes(path, arrow=arrow))
    client.recv(1)
    return client


BENCHMARKS: dict[str, Benchmark] = {"stalled-clients": stalled_clients}
