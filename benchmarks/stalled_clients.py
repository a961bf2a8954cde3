"""What clients that do not read cost: ``python benchmarks/stalled_clients.py`` (Linux).

Starts a server, connects clients that ask for a whole dataset and read nothing, and then asks for
health, a load, and the whole dataset once more. Prints how long each took and by how much the
server's memory grew, by client.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from datasets import Dataset

TOKEN = "benchmark"
ROWS, TEXT_BYTES = 20_000, 2000
SERVE = "from fdss.cli.main import main; main()"


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description="What clients that do not read cost.")
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        texts = [f"{row} ".ljust(TEXT_BYTES, "x") for row in range(ROWS)]
        Dataset.from_dict({"text": texts}).save_to_disk(f"{folder}/rows")
        pid, port = closing.enter_context(served(Path(folder), given.workers))
        handle = asked(port, "/v1/load", {"path": "local/rows"})["handle"]
        rows_path = f"/v1/datasets/{handle}/iter"
        print(f"one reader before:    {read_all(port, rows_path):8.3f} s")
        before = memory_bytes(pid)
        for _ in range(given.clients):
            closing.enter_context(stalled(port, rows_path))
        print(f"clients that do not read: {given.clients}")
        for path, body in (("/v1/health", None), ("/v1/load", {"path": "local/rows"})):
            began = time.perf_counter()
            asked(port, path, body)
            print(f"{path:21} {time.perf_counter() - began:8.3f} s")
        print(f"one reader more:      {read_all(port, rows_path):8.3f} s")
        grown = memory_bytes(pid) - before
        print(
            f"memory grew by {grown / 2**20:.1f} MiB, {grown / 2**20 / given.clients:.3f} a client"
        )


@contextmanager
def served(folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Run a server of ``rows``; give its process and its port."""
    flags = ["--workers", str(workers), "--local", f"rows={folder}/rows", "--auth-token", TOKEN]
    home = {"XDG_CONFIG_HOME": f"{folder}/config", "XDG_CACHE_HOME": f"{folder}/cache"}
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE, "start", "--port", "0", "-l", "WARNING", *flags],
        env={**os.environ, **home},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert child.stderr is not None
        found = next(filter(None, (re.search(r"URL: .*:(\d+)/", line) for line in child.stderr)))
        yield child.pid, int(found[1])
    finally:
        child.terminate()
        child.communicate()


def request_bytes(path: str) -> bytes:
    """Return a request for a path."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def stalled(port: int, path: str) -> socket.socket:
    """Return a connection whose answer has begun and is not read on."""
    client = socket.create_connection(("127.0.0.1", port), 60)
    client.sendall(request_bytes(path))
    client.recv(1)
    return client


def read_all(port: int, path: str) -> float:
    """Return the seconds a whole answer takes."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(request_bytes(path))
        response = HTTPResponse(client)
        response.begin()
        while response.read(1 << 20):
            pass
    return time.perf_counter() - began


def asked(port: int, path: str, body: Any = None) -> Any:
    """Return the JSON of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def memory_bytes(pid: int) -> int:
    """Return the anonymous memory of a process and its children; mapped files are not counted."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10  # type: ignore[index]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(memory_bytes(int(child)) for child in children)


if __name__ == "__main__":
    main()
