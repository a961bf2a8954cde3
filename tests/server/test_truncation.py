"""What becomes of a file while it is served ends its streams, and never the server."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.client import RemoteBackend, load_remote
from fdss.errors import FdssError
from fdss.wire.names import ARROW

BATCHES = 24
BATCH_ROWS = 500
ROWS = BATCHES * BATCH_ROWS
TEXT = "{:08} " * 120
RECEIVED_BYTES = 1 << 16
TOKEN = "token"


def row(number: int) -> dict[str, Any]:
    """Return a row of the dataset, about a kilobyte."""
    return {"id": number, "text": TEXT.format(*[number] * 120)}


def batch_of(begin: int) -> pa.RecordBatch:
    """Return a stored batch of the dataset."""
    rows = [row(number) for number in range(begin, begin + BATCH_ROWS)]
    return pa.RecordBatch.from_pylist(rows)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a dataset of 13 MB: more than all buffers between two ends of a connection hold."""
    path = tmp_path_factory.mktemp("template") / "data.arrow"
    first = batch_of(0)
    with pa.ipc.new_stream(str(path), first.schema) as writer:
        for begin in range(0, ROWS, BATCH_ROWS):
            writer.write_batch(batch_of(begin))
    return path


class Server:
    """A server in a process of its own."""

    def __init__(self, home: Path) -> None:
        command = ["start", "--port", "0", "--auth-token", TOKEN, "--allow-paths"]
        folders = {name: str(home / name) for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fdss", *command],
            env={**os.environ, **folders, "HF_HOME": str(home / "hf")},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        found = (re.search(r"URL: http://.*:(\d+)/", line) for line in self.process.stderr)
        self.port = int(next(filter(None, found))[1])
        self.log: list[str] = []
        # A log that nobody reads would make its writer wait.
        self._reader = threading.Thread(target=self.log.extend, args=(self.process.stderr,))
        self._reader.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def request(self, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        """Return an answer whose body was not read; its connection holds little of it."""
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        peer.settimeout(60)
        peer.connect(("127.0.0.1", self.port))
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = peer
        headers |= {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers | {"Content-Type": "application/json"})
        return connection.getresponse()

    def load(self, path: Path) -> str:
        """Return the handle of a dataset."""
        with self.request("/v1/load", {"path": str(path), "split": "train"}) as answer:
            told = json.loads(answer.read())
        assert answer.status == 200, told
        return str(told["handle"])

    def stop(self) -> None:
        """End the process, in its own way."""
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def is_alive(self) -> bool:
        """Tell whether the process lives and answers."""
        with self.request("/v1/health") as answer:
            answer.read()
        return answer.status == 200 and self.process.poll() is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start one server for all tests of this module: each finds it as the last one left it."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.stop()


@pytest.fixture
def dataset(template: Path, tmp_path: Path) -> Path:
    """Copy the dataset."""
    return Path(shutil.copy(template, tmp_path / "data.arrow"))


def truncated(path: Path) -> None:
    os.truncate(path, 0)


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def renamed_over(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"x" * 1000)
    other.replace(path)


def deleted(path: Path) -> None:
    path.unlink()


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x" * 1000)


def rewritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


CHANGES: tuple[Callable[[Path], None], ...] = (
    truncated,
    halved,
    renamed_over,
    deleted,
    appended,
    rewritten,
)
STREAMS = {
    "arrow": ("", ARROW),
    "ndjson": ("", "application/x-ndjson"),
    "shuffled": ("?seed=3&window=1000", ARROW),
    "shuffled-ndjson": ("?seed=3&window=1000", "application/x-ndjson"),
    "columns": ("?columns=text", ARROW),
    "compressed": ("?compression=lz4", ARROW),
}


def rest_of(answer: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """Return what is left of a body, and whether it came to its end."""
    parts = []
    try:
        while part := answer.read(1 << 20):
            parts.append(part)
    except (http.client.IncompleteRead, ConnectionError, ValueError):
        return b"".join(parts), False
    return b"".join(parts), not answer.length


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", STREAMS)
def test_a_file_changes_while_it_is_streamed(
    server: Server, dataset: Path, template: Path, kind: str, change: Callable[[Path], None]
) -> None:
    """The stream is seen to be cut, or is whole and right; the server serves on."""
    query, accept = STREAMS[kind]
    path = f"/v1/datasets/{server.load(dataset)}/iter{query}"
    with server.request(path, Accept=accept) as answer:
        expected, is_whole = rest_of(answer)
    assert answer.status == 200 and is_whole
    with server.request(path, Accept=accept) as answer:
        first = answer.read(RECEIVED_BYTES)
        change(dataset)
        rest, is_whole = rest_of(answer)
    if is_whole:
        # Compressed, all of it may have been on its way; a file that is open outlives its name.
        assert kind == "compressed" or change in (deleted, renamed_over)
        assert first + rest == expected
    else:
        assert len(first + rest) < len(expected)
    assert server.is_alive()
    with server.request(
        f"/v1/datasets/{server.load(template)}/iter{query}", Accept=accept
    ) as answer:
        assert rest_of(answer) == (expected, True)


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_client_is_told(server: Server, dataset: Path, change: Callable[[Path], None]) -> None:
    """Our client gives the rows that were, and then a typed error: never fewer rows silently."""
    found = load_remote(server.url, LoadArguments(str(dataset)), token=TOKEN)
    backend = RemoteBackend(server.url, found.handle, token=TOKEN)
    chunks = backend.chunks(Selection(range(ROWS), range(ROWS)))
    rows = list(next(chunks).rows())
    change(dataset)
    try:
        for chunk in chunks:
            rows += chunk.rows()
    except FdssError as error:
        assert error.message
        assert rows == [row(number) for number in range(len(rows))]
    else:
        assert rows == [row(number) for number in range(ROWS)]
    assert server.is_alive()


# What the child does: it opens and reads a dataset that another thread cuts and writes again.
STORM = """
import os, sys, threading, time
from pathlib import Path
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import ContentChanged, DatasetDamaged, DatasetNotFound
from fdss.storage import Folder, OpenOptions, describe_folder, open_dataset
from fdss.wire.arrow import ArrowEncoding
from fdss.wire.encodings import choose_encoding

path, whole = Path(sys.argv[1]), Path(sys.argv[1]).read_bytes()
here = Path.cwd()
options = OpenOptions(here / "index", here / "none", here / "none", force_reindex=True)
over = threading.Event()

def storm():
    number = 0
    while not over.is_set():
        number += 1
        with open(path, "r+b") as file:
            file.write(whole)
            file.flush()
            time.sleep(0.02 * (number % 3))
            file.truncate([0, 100, len(whole) // 2, len(whole) - 5000][number % 4])

changing = threading.Thread(target=storm)
changing.start()
counts = {"read": 0, "refused": 0}
while sum(counts.values()) < int(sys.argv[2]):
    try:
        backend = open_dataset(Folder(path), LoadArguments("local/x"), options)
        every = range(len(backend))
        for seed in (None, 3):
            for batch in backend.batches(Selection(every, every, seed, 16, 1000)):
                batch.to_pylist()
        for part in ArrowEncoding().encode(backend, Selection(every, every)).read():
            bytes(part)
        counts["read"] += 1
    except (ContentChanged, DatasetDamaged, DatasetNotFound):
        counts["refused"] += 1
over.set()
changing.join()
print("ended")
"""


@pytest.mark.only_on("linux")
def test_a_file_changes_while_it_is_opened(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Opening, indexing and reading a file that is cut again and again ends in typed errors."""
    path = tmp_path / "data.arrow"
    with pa.ipc.new_stream(str(path), batch_of(0).schema) as writer:
        for begin in range(0, 4 * BATCH_ROWS, BATCH_ROWS):
            writer.write_batch(batch_of(begin))
    assert run_python("-c", STORM, str(path), "40").stdout == "ended\n"
