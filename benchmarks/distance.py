"""A server behind a link of 100 ms and 100 Mbit/s: how much of the link its rows use."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial

from fdss.client import Transfer

from . import link, product
from .bench import Bench, Benchmark
from .children import Amount, Read, served
from .link import Shape
from .measure import Race, Runner, bytes_rate, rows_rate
from .peers import sockets
from .report import Line
from .rows import beside
from .workloads import Workload

SHAPE = Shape(round_trip_s=0.1, rate=100e6 / 8)


def far_server(bench: Bench, shape: Shape = SHAPE) -> list[Line]:
    """Measure the share of a link that rows use, and rows by their form on the wire."""
    workload = bench.text()
    rows = bench.size(30_000, 1000)
    with ExitStack() as closing:
        server = closing.enter_context(product.running([workload]))
        carry = partial(_carried, closing, shape)
        [file] = workload.folder.glob("*.arrow")
        _, raw_port = closing.enter_context(served(sockets.serve, file=str(file)))
        raw = {"port": carry(raw_port), "limit_bytes": int(rows * workload.row_bytes)}
        runners = [Runner("raw", first_bytes, raw)]
        url = f"http://127.0.0.1:{carry(server.port)}"
        runners += [_reader(name, url, workload, rows, form) for name, form in FORMS.items()]
        found = bench.race(runners)
    forms = Race({name: found.samples[name] for name in FORMS})
    return [*_shares(found, workload, shape), *beside(forms, "as it chooses", "rows over the link")]


FORMS = {
    "as it chooses": Transfer(),
    "Arrow, not compressed": Transfer(compression=None),
    "Arrow, zstd": Transfer(compression="zstd"),
    "NDJSON": Transfer(body="ndjson"),
}


def _shares(found: Race, workload: Workload, shape: Shape) -> list[Line]:
    raw_share = found.median("raw", bytes_rate) / shape.rate
    plain_rows = found.median("Arrow, not compressed", rows_rate)
    share = plain_rows * workload.row_bytes / shape.rate
    where = f"{shape.round_trip_s * 1e3:.0f} ms, {shape.rate * 8 / 1e6:.0f} Mbit/s"
    return [
        Line(
            f"share of the link ({where}), Arrow, not compressed",
            f"{share:.0%}",
            "raw transfer of as many bytes",
            f"{raw_share:.0%}",
            share / raw_share,
        )
    ]


def first_bytes(port: int, limit_bytes: int) -> Read:
    """Return a pass that takes so many bytes from a plain socket."""

    def read() -> Amount:
        buffer, rest = bytearray(1 << 18), limit_bytes
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            while rest > 0 and (size := client.recv_into(buffer, min(rest, len(buffer)))):
                rest -= size
        return Amount(0, limit_bytes - rest)

    return read


def _carried(closing: ExitStack, shape: Shape, port: int) -> int:
    _, carried = closing.enter_context(served(link.serve, port=port, shape=shape))
    return carried


def _reader(name: str, url: str, workload: Workload, rows: int, form: Transfer) -> Runner:
    place = {"url": url, "name": workload.folder.name, "rows": rows, "transfer": form}
    return Runner(name, product.remote_rows, place)


BENCHMARKS: dict[str, Benchmark] = {"far-server": far_server}
