"""A job outlives its server: it waits, and goes on at the next row."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import Dataset
from ports import free_port

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.client import ComposableIterableDataset, ResilientRemoteBackend, Transfer
from fdss.client.finding import OneServer
from fdss.client.patience import Patience
from fdss.config import ServerConfig
from fdss.errors import (
    ContentChanged,
    OutageTooLong,
    ServerUnreachable,
    UnknownLocal,
)
from fdss.serving import Server

ROWS = 3000
ARGUMENTS = LoadArguments("local/rows")
#: Pauses that a test can wait for.
QUICK = Patience(first_s=0.01, longest_s=0.05)
#: Pages of a few rows, so that most of them are still to be asked for.
SMALL = Transfer(read_ahead_bytes=1)


def save(folder: Path, texts: list[str]) -> Path:
    """Save rows that are larger than a page holds many of."""
    Dataset.from_dict({"n": list(range(len(texts))), "text": texts}).save_to_disk(str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "rows", [f"row {n} " + "x" * 400 for n in range(ROWS)])


class Host:
    """A machine whose server ends and starts again on one port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Server | None = None
        self._port = free_port()

    def serve(self, folder: Path | None = None) -> Server:
        """Start the server, after the end of the one before."""
        self.stop()
        local = {"rows": folder or self._folder}
        server = Server(ServerConfig(port=self._port, auth_token="secret", local=local))
        self._server = server.__enter__()
        return server

    def stop(self) -> None:
        """End the server, and cut what it is sending."""
        if self._server is not None:
            self._server.close()
        self._server = None


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    """Yield a machine that has the rows."""
    host = Host(folder)
    yield host
    host.stop()


class Told(logging.Handler):
    """Waits until a reader has told that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.has_told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the log."""
        self.has_told.set()


@pytest.fixture
def told() -> Iterator[Told]:
    """Yield what hears of the first trouble."""
    handler, logger = Told(), logging.getLogger("fdss.client.patience")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def resilient(url: str, patience: Patience = QUICK) -> ResilientRemoteBackend:
    """Return the backend of the served rows."""
    server = OneServer(url, "secret")
    return ResilientRemoteBackend(ARGUMENTS, server, patience=patience, transfer=SMALL)


def shuffled(backend: ResilientRemoteBackend) -> ComposableIterableDataset:
    """Return a shuffled and mapped dataset."""
    dataset = ComposableIterableDataset(backend).shuffle(seed=3, buffer_size=100)
    return dataset.map(lambda row: {"double": 2 * row["n"]})


def test_rows_go_on_after_a_restart(host: Host) -> None:
    """A server that ends and starts again three times costs no row, repeats none, reorders none."""
    backend = resilient(host.serve().url)
    undisturbed = [row["n"] for row in shuffled(backend)]
    seen = []
    for row in shuffled(backend):
        seen.append(row["n"])
        if len(seen) in (1, 700, 2999):
            host.serve()

    assert seen == undisturbed
    assert sorted(seen) == list(range(ROWS))


def test_rows_wait_until_a_server_is_back(host: Host, told: Told) -> None:
    """While nothing answers the reader waits; once a server is back it goes on at the next row."""
    server = host.serve()
    rows = iter(ComposableIterableDataset(resilient(server.url)))
    seen = [next(rows)["n"]]
    host.stop()
    reader = threading.Thread(target=lambda: seen.extend(row["n"] for row in rows))
    reader.start()
    assert told.has_told.wait(60)
    host.serve()
    reader.join(60)

    assert seen == list(range(ROWS))


def test_a_handle_that_is_gone_is_loaded_again(host: Host) -> None:
    """A server that has forgotten its handles is asked to load the dataset again."""
    server = host.serve()
    rows = iter(ComposableIterableDataset(resilient(server.url)))
    seen = [next(rows)["n"]]
    host.stop()
    places.handles_file(server.config.port).unlink()
    host.serve()

    assert seen + [row["n"] for row in rows] == list(range(ROWS))


def test_other_rows_are_refused(host: Host, tmp_path: Path) -> None:
    """A server that comes back with one row changed is refused, and gives not one row."""
    server = host.serve()
    rows = iter(ComposableIterableDataset(resilient(server.url)))
    first = next(rows)["n"]
    texts = [f"row {n} " + "x" * 400 for n in range(ROWS)]
    texts[ROWS - 1] = "another row" + "x" * 400
    host.serve(save(tmp_path / "changed", texts))
    seen = [first]
    with pytest.raises(ContentChanged):
        seen.extend(row["n"] for row in rows)

    assert seen == list(range(len(seen)))


def test_a_name_that_nobody_serves_fails_at_once(host: Host) -> None:
    """A name that the server does not know is its own message, without a second try."""
    url = host.serve().url
    backend = ResilientRemoteBackend(LoadArguments("local/typo"), OneServer(url, "secret"))
    with pytest.raises(UnknownLocal, match="local/typo"):
        len(backend)


def test_a_wrong_token_fails_at_once(host: Host) -> None:
    """A token that the server refuses is raised at once; no waiting makes it right."""
    backend = ResilientRemoteBackend(ARGUMENTS, OneServer(host.serve().url, "wrong"))
    with pytest.raises(PermissionError, match="token"):
        len(backend)


def test_patience_ends(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """With a cap the reader gives up after about as long, and says what it waited for."""
    server = host.serve()
    backend = resilient(server.url, Patience(first_s=0.01, longest_s=0.05, most_s=0.3))
    rows = iter(ComposableIterableDataset(backend))
    next(rows)
    host.stop()
    with caplog.at_level(logging.WARNING, "fdss.client"), pytest.raises(OutageTooLong) as found:
        list(rows)

    assert server.url in found.value.message
    assert "FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS" in found.value.hint
    assert isinstance(found.value, ServerUnreachable)
    assert len([line for line in caplog.messages if "waits up to 0.3 s" in line]) == 1


def test_an_outage_is_two_lines_in_the_log(
    host: Host, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble is one line when it begins and one when it ends, however many tries lie between."""
    server = host.serve()
    rows = iter(ComposableIterableDataset(resilient(server.url)))
    next(rows)
    host.stop()
    with caplog.at_level(logging.WARNING, "fdss.client"):
        reader = threading.Thread(target=lambda: list(rows))
        reader.start()
        assert told.has_told.wait(60)
        host.serve()
        reader.join(60)

    lines = [line.getMessage() for line in caplog.records if line.name.startswith("fdss.client")]
    assert len(lines) == 2
    assert "local/rows" in lines[0] and " waits: " in lines[0]
    assert "goes on after" in lines[1] and server.url in lines[1]


def test_it_travels_to_other_processes(host: Host) -> None:
    """A pickled backend reads the same rows, and still outlives its server."""
    backend = resilient(host.serve().url)
    everything = Selection(range(ROWS), range(ROWS))
    assert len(backend) == ROWS
    copy = pickle.loads(pickle.dumps(backend))
    host.serve()

    assert sum(len(chunk) for chunk in copy.chunks(everything)) == ROWS
