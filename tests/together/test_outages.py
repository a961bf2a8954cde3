"""Servers that are processes of their own all die: a job waits, gives up in time, or goes on."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusters import eventually, register
from datasets import Dataset
from machines import TOKEN, Machine

from fdss.arguments import LoadArguments
from fdss.backend import Row
from fdss.client import ComposableIterableDataset, fast_load_iterable_dataset, local_load
from fdss.errors import ContentChanged, FdssError, OutageTooLong

pytestmark = pytest.mark.long

#: Twice what a client reads ahead, so that rows are left to be asked for.
ROWS, ROW_BYTES = 6000, 8000
#: So many rows are read before a misfortune.
BEGUN = 100
OUTAGE_S = 3.0
CAP_S = 5.0
#: A machine that is busy with other things is slow, too.
LATE_S = 60.0

Start = Callable[..., Machine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a call that starts the process of an ``fdss`` command."""
    with contextlib.ExitStack() as stack:

        def begin(name: str, *command: str) -> Machine:
            machine = Machine(tmp_path / f"{name}.log", *command)
            stack.callback(machine.kill)
            machine.start()
            return machine

        yield begin


def save(folder: Path, files: int, changed: int | None = None) -> Path:
    """Save the rows, one of them changed."""
    texts = [f"row {n} " + "x" * ROW_BYTES for n in range(ROWS)]
    if changed is not None:
        texts[changed] += "!"
    rows = {"n": list(range(ROWS)), "text": texts}
    Dataset.from_dict(rows).save_to_disk(str(folder), num_shards=files)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the rows in two layouts, and the rows of which the last one is changed."""
    folder = tmp_path_factory.mktemp("rows")
    return {
        "one": save(folder / "one", 1),
        "three": save(folder / "three", 3),
        "changed": save(folder / "changed", 1, changed=ROWS - 1),
    }


class Job:
    """A job that reads in a thread; it stops after its first rows until it is told to go on."""

    def __init__(self, dataset: ComposableIterableDataset) -> None:
        self.rows: list[Row] = []
        self.error: FdssError | None = None
        self.ended_s = 0.0
        self._goes_on = threading.Event()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(dataset,))

    def __enter__(self) -> Job:
        """Read the first rows."""
        self._thread.start()
        eventually(lambda: len(self.rows) == BEGUN or self.error, 60)
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def waits(self, seconds: float) -> bool:
        """Let it go on, and return whether it still waits for rows after so long."""
        self._goes_on.set()
        return not self._has_ended.wait(seconds) and len(self.rows) < ROWS

    def end(self) -> list[Row]:
        """Let it read to its end, and return the rows."""
        self._goes_on.set()
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.rows

    def _read(self, dataset: ComposableIterableDataset) -> None:
        try:
            for row in dataset:
                self.rows.append(row)
                if len(self.rows) == BEGUN:
                    self._goes_on.wait()
        except FdssError as error:
            self.error = error
        self.ended_s = time.monotonic()
        self._has_ended.set()


def loaded() -> ComposableIterableDataset:
    """Return the shuffled rows of whatever server the environment says."""
    return fast_load_iterable_dataset("local/rows").shuffle(seed=5, buffer_size=64)


def cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs wait no longer than so, once the rows are open: that may take longer."""
    next(iter(loaded()))
    monkeypatch.setenv("FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS", f"{CAP_S:g}")


def expected(folder: Path) -> list[Row]:
    """Return the rows of a reader that nothing befalls."""
    local = ComposableIterableDataset(local_load(LoadArguments(str(folder))))
    return list(local.shuffle(seed=5, buffer_size=64))


def serve(start: Start, name: str, folder: Path) -> Machine:
    """Start a server of the rows, and add it to the registry of this machine's routers."""
    machine = start(name, "start", f"--local=rows={folder}")
    register(machine.url, TOKEN, name)
    return machine


@pytest.fixture
def to_server(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    """Return a call that points the environment at one server."""

    def point(machine: Machine) -> None:
        monkeypatch.setenv("FORGATHER_DATASET_SERVER", machine.url)
        monkeypatch.setenv("FORGATHER_DATASET_SERVER_TOKEN", TOKEN)

    return point


@pytest.fixture
def to_router(monkeypatch: pytest.MonkeyPatch, start: Start) -> Callable[[], None]:
    """Return a call that starts a router, and points the environment at it."""

    def point() -> None:
        router = start("router", "router", "start")
        monkeypatch.setenv("FORGATHER_DATASET_SERVER", "auto")
        monkeypatch.setenv("FORGATHER_SERVER_URL", router.url)
        monkeypatch.setenv("FORGATHER_SERVER_TOKEN", TOKEN)

    return point


def test_a_job_waits_for_its_only_server(
    start: Start, to_server: Callable[[Machine], None], folders: dict[str, Path]
) -> None:
    """While the server of a fixed URL is down the job waits; then it goes on at the next row."""
    server = start("one", "start", f"--local=rows={folders['one']}")
    to_server(server)
    with Job(loaded()) as job:
        server.kill()
        assert job.waits(OUTAGE_S)
        server.start()

        assert job.end() == expected(folders["one"])


def test_a_job_waits_for_any_server(
    start: Start, to_router: Callable[[], None], folders: dict[str, Path]
) -> None:
    """While all servers of a cluster are down the job waits; it goes on with the first back."""
    servers = [serve(start, name, folders[name]) for name in ("one", "three")]
    to_router()
    with Job(loaded()) as job:
        for server in servers:
            server.kill()
        assert job.waits(OUTAGE_S)
        servers[1].start()

        assert job.end() == expected(folders["one"])


@pytest.mark.parametrize("is_auto", [False, True], ids=["fixed", "auto"])
def test_patience_of_five_seconds_ends_after_five_seconds(
    start: Start,
    to_server: Callable[[Machine], None],
    to_router: Callable[[], None],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    is_auto: bool,
) -> None:
    """With a cap the job ends about as long after its last server, and says what it waited for."""
    server = serve(start, "one", folders["one"])
    if is_auto:
        to_router()
    else:
        to_server(server)
    cap(monkeypatch)
    with Job(loaded()) as job:
        server.kill()
        killed_s = time.monotonic()
        seen = job.end()
        waited_s = job.ended_s - killed_s

    assert isinstance(job.error, OutageTooLong)
    assert "local/rows" in job.error.message
    assert "FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS" in job.error.hint
    assert CAP_S <= waited_s < CAP_S + LATE_S
    assert seen == expected(folders["one"])[: len(seen)]


def test_a_changed_replica_takes_over_no_job(
    start: Start,
    to_router: Callable[[], None],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replica with one changed row gives a running job nothing, not even when it is the last."""
    servers = [serve(start, name, folders[name]) for name in ("one", "three")]
    to_router()
    cap(monkeypatch)
    with Job(loaded()) as job:
        serve(start, "changed", folders["changed"])
        for server in servers:
            server.kill()
        seen = job.end()

    # The servers with its rows are down, and may come back: it waits.
    assert isinstance(job.error, OutageTooLong)
    assert seen == expected(folders["one"])[: len(seen)]


def test_a_job_passes_by_a_changed_replica(
    start: Start, to_router: Callable[[], None], folders: dict[str, Path]
) -> None:
    """Where one replica has the same rows and another one a changed row, the first takes over."""
    servers = {name: serve(start, name, folders[name]) for name in ("one", "three")}
    to_router()
    with Job(loaded()) as job:
        serve(start, "changed", folders["changed"])
        servers["one"].kill()
        # Whichever of the two the job reads from.
        servers["three"].kill()
        servers["three"].start()

        assert job.end() == expected(folders["one"])


def test_a_server_that_comes_back_changed_is_refused(
    start: Start, to_server: Callable[[Machine], None], tmp_path: Path
) -> None:
    """The server of a fixed URL that comes back with one row changed is refused, with a type."""
    folder = save(tmp_path / "rows", 1)
    server = start("one", "start", f"--local=rows={folder}")
    to_server(server)
    undisturbed = expected(folder)
    with Job(loaded()) as job:
        server.kill()
        shutil.rmtree(folder)
        save(folder, 1, changed=ROWS - 1)
        server.start()
        seen = job.end()

    assert isinstance(job.error, ContentChanged)
    assert seen == undisturbed[: len(seen)]
