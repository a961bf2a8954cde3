"""FDSS itself, through its public surface: ``fdss start`` in a process, and readers of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fdss
from fdss.arguments import LoadArguments
from fdss.backend import Backend, Selection
from fdss.client import ComposableIterableDataset, Transfer, load_remote, local_load
from fdss.wire import names

from .children import Amount, Read, counted
from .workloads import Workload

TOKEN = "benchmark"
DRAIN_BYTES = 1 << 20


@dataclass(frozen=True)
class Server:
    """A running server: its process, its port, and the handles of its datasets by name.

    Attributes:
        ca: Certificate of its authority; None if it speaks plain HTTP.
    """

    pid: int
    port: int
    handles: dict[str, str]
    ca: str | None = None

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"http{'s' if self.ca else ''}://127.0.0.1:{self.port}"

    def rows_path(self, workload: Workload) -> str:
        """Return the path of a dataset's rows."""
        return names.iter_path(self.handles[workload.folder.name])


@contextmanager
def running(
    workloads: list[Workload], *flags: str, prefix: Sequence[str] = (), ca: str | None = None
) -> Iterator[Server]:
    """Run a server of some datasets, every one of them open, in a home of its own.

    Args:
        prefix: What the command is given to, such as ``taskset``.
        ca: Certificate of its authority, where the flags are such that it speaks TLS.
    """
    local = [f"--local={one.folder.name}={one.folder}" for one in workloads]
    with tempfile.TemporaryDirectory(prefix="fdss-bench-") as home:
        command = [sys.executable, "-m", "fdss", "start", "--port", "0", "--auth-token", TOKEN]
        child = subprocess.Popen(
            [*prefix, *command, "--log-level", "INFO", *local, *flags],
            env=_environment(home),
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        try:
            assert child.stderr is not None
            port = _told_port(child.stderr)
            # Nobody reads on: what it says from here would fill the pipe.
            drain = subprocess.Popen(["cat"], stdin=child.stderr, stdout=subprocess.DEVNULL)
            names_ = [one.folder.name for one in workloads]
            handles = {name: _loaded(port, name, ca) for name in names_}
            yield Server(child.pid, port, handles, ca)
        finally:
            child.terminate()
            child.wait()
            drain.wait()


def _environment(home: str) -> dict[str, str]:
    folders = {"XDG_CONFIG_HOME": f"{home}/config", "XDG_CACHE_HOME": f"{home}/cache"}
    # A child has to find the same fdss, installed or not.
    return {**os.environ, **folders, "PYTHONPATH": str(Path(fdss.__file__).parents[1])}


def _told_port(lines: Iterator[str]) -> int:
    said = []
    for line in lines:
        said.append(line)
        if found := re.search(r"URL: .*:(\d+)/", line):
            return int(found[1])
    raise RuntimeError("The server did not start:\n" + "".join(said))


def _loaded(port: int, name: str, ca: str | None = None) -> str:
    return str(asked(port, names.LOAD_PATH, {"path": f"local/{name}"}, ca)["handle"])


def asked(port: int, path: str, body: dict[str, Any] | None = None, ca: str | None = None) -> Any:
    """Return the JSON that a path answers with; under TLS if there is an authority."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    if ca is not None:
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=600, context=context)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, content, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {found}")
    return found


def backend(url: str, name: str, transfer: Transfer | None = None) -> Backend:
    """Return a dataset of a server."""
    found = load_remote(url, LoadArguments(f"local/{name}"), token=TOKEN)
    if transfer is None:
        return found
    return type(found)(url, found.handle, token=TOKEN, transfer=transfer)


def remote_rows(
    url: str,
    name: str,
    rows: int,
    shuffled: bool = False,
    format: str | None = None,
    transfer: Transfer | None = None,
) -> Read:
    """Return a pass over the first rows of a dataset of a server, as a training loop reads it."""
    dataset = ComposableIterableDataset(backend(url, name, transfer))
    return rows_read(dataset, rows, shuffled, format)


def local_rows(folder: str, rows: int, shuffled: bool = False, format: str | None = None) -> Read:
    """Return the same pass without a server."""
    dataset = ComposableIterableDataset(local_load(LoadArguments(folder)))
    return rows_read(dataset, rows, shuffled, format)


def has_formats() -> bool:
    """Return whether datasets have ``with_format``."""
    return hasattr(ComposableIterableDataset, "with_format")


def rows_read(
    dataset: ComposableIterableDataset, rows: int, shuffled: bool, format: str | None
) -> Read:
    """Return a pass over the first rows of a dataset, shuffled in windows of 1,000 or not."""
    if shuffled:
        dataset = dataset.shuffle(seed=7, buffer_size=1000)
    if format is not None:
        formatted: Any = dataset
        dataset = formatted.with_format(format)
    dataset = dataset.slice(0, rows)
    return counted(dataset)


def remote_batches(url: str, name: str, rows: int, data_bytes: int) -> Read:
    """Return a pass over the record batches of a dataset of a server; no rows are made."""
    source = backend(url, name)
    selection = Selection(range(len(source)), range(rows))

    def read() -> Amount:
        return Amount(sum(len(chunk) for chunk in source.chunks(selection)), data_bytes)

    return read


def drained(port: int, path: str, arrow: bool = True, ca: str | None = None) -> Read:
    """Return a pass that takes the bytes of one answer from a socket, and leaves them at that.

    Args:
        ca: Certificate of the server's authority, if it speaks TLS.
    """
    context = None if ca is None else ssl.create_default_context(cafile=ca)

    def read() -> Amount:
        with socket.create_connection(("127.0.0.1", port), 60) as plain, ExitStack() as closing:
            client = plain
            if context is not None:
                client = context.wrap_socket(plain, server_hostname="127.0.0.1")
                closing.enter_context(client)
            client.sendall(request_bytes(path, arrow=arrow))
            return Amount(0, drained_bytes(client))

    return read


def request_bytes(path: str, *, arrow: bool) -> bytes:
    """Return a request for a path, after whose answer the connection ends."""
    accept = f"Accept: {names.ARROW}\r\n" if arrow else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{accept}"
        "Connection: close\r\n\r\n"
    ).encode()


def drained_bytes(client: socket.socket) -> int:
    """Return how many bytes arrive until the other side closes."""
    buffer, total = bytearray(DRAIN_BYTES), 0
    while size := client.recv_into(buffer):
        total += size
    return total


def curled(url: str, rows: int) -> Read:
    """Return a pass of ``curl`` over the answer of a URL, which has so many rows."""
    command = ["curl", "--silent", "--show-error", "--fail", "--output", os.devnull]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--write-out", "%{size_download}"]

    def read() -> Amount:
        told = subprocess.run([*command, url], check=True, stdout=subprocess.PIPE)
        return Amount(rows, int(told.stdout))

    return read
