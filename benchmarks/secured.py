"""What TLS costs: the same answers plain and encrypted, from servers that have one core."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from fdss.tls.authority import make_authority
from fdss.tls.certificates import pem_of, pem_of_key
from fdss.tls.names import LOOPBACK

from . import product
from .bench import Bench, Benchmark
from .measure import Quantity, Race, Runner, bytes_rate, server_cpu_per_gb
from .report import Line, megabytes
from .workloads import Workload

FDSS = "fdss under TLS"
PLAIN = "fdss without TLS"
DAYS = 30


def tls(bench: Bench, clients: int) -> list[Line]:
    """Measure Arrow and NDJSON under TLS beside the same without, each server on one core."""
    workload = bench.text()
    lines = []
    # NDJSON takes longer to make, and curbs both alike.
    for kind, arrow, seconds in (("record batches", True, 16), ("NDJSON", False, 4)):
        with ExitStack() as closing:
            times = bench.size(max(1, seconds // clients), 1)
            runners = _runners(workload, clients, arrow, closing)
            found = bench.race([replace(one, times=times) for one in runners])
        what = f"{kind} drained under TLS, {clients} streams"
        lines.append(_line(found, what, bytes_rate))
        lines.append(_line(found, f"{what}: server CPU, less is better", server_cpu_per_gb))
    return lines


def _runners(workload: Workload, clients: int, arrow: bool, closing: ExitStack) -> list[Runner]:
    folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="fdss-bench-tls-")))
    cert, key, ca = _certificate(folder)
    # Where there is no taskset both have every core.
    prefix = ("taskset", "-c", str(min(os.sched_getaffinity(0)))) if shutil.which("taskset") else ()
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    encrypted = closing.enter_context(
        product.running([workload], *flags, prefix=prefix, ca=str(ca))
    )
    plain = closing.enter_context(product.running([workload], "--no-tls", prefix=prefix))
    return [
        Runner(
            name,
            product.drained,
            {
                "port": server.port,
                "path": server.rows_path(workload),
                "arrow": arrow,
                "ca": server.ca,
            },
            clients,
            server.pid,
        )
        for name, server in ((FDSS, encrypted), (PLAIN, plain))
    ]


def _certificate(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of a certificate for loopback, its key, and who signed it."""
    authority = make_authority("Benchmarks", DAYS)
    certificate, key = authority.issue(LOOPBACK, DAYS, name="localhost")
    cert_file, key_file, ca_file = folder / "server.crt", folder / "server.key", folder / "ca.crt"
    cert_file.write_bytes(pem_of([certificate]))
    key_file.touch(0o600)
    key_file.write_bytes(pem_of_key(key))
    ca_file.write_bytes(pem_of([authority.certificate]))
    return cert_file, key_file, ca_file


def _line(found: Race, what: str, quantity: Quantity) -> Line:
    own, other = (found.median(name, quantity) for name in (FDSS, PLAIN))
    shown = [
        megabytes(one) if quantity is bytes_rate else f"{one:.2f} s/GB" for one in (own, other)
    ]
    return Line(what, shown[0], PLAIN, shown[1], found.ratio(FDSS, PLAIN, quantity))


BENCHMARKS: dict[str, Benchmark] = {
    "tls": partial(tls, clients=1),
    "tls-8": partial(tls, clients=8),
}
