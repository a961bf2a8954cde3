"""What ``ds.stats()`` tells of passes in this process, and the line at the end of an epoch."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import pickle
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from raw_server import NDJSON, RawServer, Request, StartServer, response

from fdss.arguments import LoadArguments
from fdss.backend import Backend, Chunk, Selection
from fdss.client import (
    ComposableIterableDataset,
    InMemoryBackend,
    ResilientRemoteBackend,
    Transfer,
    load_remote,
    local_load,
)
from fdss.client.board import WORKERS, Board
from fdss.client.finding import Found, OneServer
from fdss.client.patience import Patience
from fdss.client.slots import MOST_TEXT_BYTES, SLOT_BYTES, Slot
from fdss.client.statistics import Statistics, statistics_of
from fdss.client.waits import BUCKETS, bucket_of, middle_s, quantile_s
from fdss.config import ServerConfig
from fdss.errors import FdssError, ServerUnreachable, SettingError
from fdss.serving import Server

VARIABLE = "FORGATHER_DATASET_CLIENT_STATS"
ROWS = 3000
ARGUMENTS = LoadArguments("local/rows")
QUICK = Patience(first_s=0.01, longest_s=0.05)
#: Pages of a few rows, so that most of them are still to be asked for.
SMALL = Transfer(read_ahead_bytes=1)

waits_ns = st.integers(0, 10**15)


def in_memory(rows: int) -> ComposableIterableDataset:
    """Return a dataset whose chunks have 1,024 rows."""
    return ComposableIterableDataset(InMemoryBackend([{"n": n} for n in range(rows)]))


# ---- the histogram


@given(waits_ns)
def test_a_wait_is_known_to_one_part_in_sixteen(wait_ns: int) -> None:
    """The middle of a wait's bucket is within 1/16 of it, and half a microsecond."""
    assert abs(middle_s(bucket_of(wait_ns)) - wait_ns / 1e9) <= max(wait_ns / 1e9 / 16, 1e-6)


@given(waits_ns, waits_ns)
def test_buckets_rise_with_the_waits(one_ns: int, other_ns: int) -> None:
    """A longer wait never lies in an earlier bucket, and there is a bucket for every wait."""
    shorter, longer = sorted((one_ns, other_ns))

    assert 0 <= bucket_of(shorter) <= bucket_of(longer) < BUCKETS


def test_waits_beyond_the_last_bucket_are_in_it() -> None:
    """A wait longer than any bucket counts as the longest."""
    assert bucket_of(1 << 70) == BUCKETS - 1


@given(st.lists(waits_ns, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_those_of_numpy(waits: list[int], share: float) -> None:
    """A quantile is what numpy gives for the waits themselves, to one part in sixteen."""
    counts = [0] * BUCKETS
    for wait_ns in waits:
        counts[bucket_of(wait_ns)] += 1
    expected_s = float(np.quantile(np.array(waits), share, method="inverted_cdf")) / 1e9

    assert abs(quantile_s(counts, share) - expected_s) <= max(expected_s / 16, 1e-6)


def test_no_wait_has_quantiles_of_zero() -> None:
    """Where nothing was waited for, a quantile is 0."""
    assert quantile_s([0] * BUCKETS, 0.5) == 0.0


# ---- rows of this machine


def test_nothing_is_counted_before_a_pass() -> None:
    """A dataset that nobody has read has no readers, and totals of 0."""
    dataset = in_memory(10)
    iter(dataset)
    told = dataset.stats()

    assert (told.readers, told.total.rows, told.uncounted_workers) == ((), 0, 0)
    assert str(told).startswith("total: 0 rows")


def test_a_whole_pass_is_counted_exactly() -> None:
    """After a pass every row and chunk is counted, and no request was sent."""
    dataset = in_memory(5000)
    assert len(list(dataset)) == 5000
    told = dataset.stats()
    (reader,) = told.readers

    assert (reader.worker, reader.epoch, reader.position, reader.is_over) == (None, 0, 5000, True)
    assert (told.total.rows, told.total.chunks) == (5000, 5)
    assert (told.total.requests, told.total.received_bytes, told.total.servers) == (0, 0, ())
    assert 0 < told.total.waited_s <= told.total.elapsed_s
    assert 0 < told.total.wait_p50_s <= told.total.wait_p95_s <= told.total.wait_p99_s
    assert told.total.rows_per_s == pytest.approx(5000 / told.total.elapsed_s)


def test_a_pass_under_way_is_counted_up_to_its_chunk() -> None:
    """While a chunk is used up its rows are not counted yet; a closed pass counts them exactly."""
    dataset = in_memory(5000)
    rows = iter(dataset)
    assert len(list(islice(rows, 1500))) == 1500
    under_way = dataset.stats().readers[0]
    rows.close()
    closed = dataset.stats().readers[0]

    assert (under_way.rows, under_way.chunks, under_way.is_over) == (1024, 2, False)
    assert (closed.rows, closed.chunks, closed.is_over) == (1500, 2, False)


def test_rows_are_counted_before_steps() -> None:
    """What is counted are rows of the backend, whatever steps make of them."""
    dataset = in_memory(100).filter(lambda row: row["n"] % 2).take(10)
    assert len(list(dataset)) == 10

    assert dataset.stats().total.rows == 20
    assert dataset.stats().readers[0].is_over


def test_batches_of_columns_are_counted() -> None:
    """Rows that are read by the batch are counted as those that are read one by one."""
    dataset = in_memory(2500).with_format("arrow")
    assert sum(batch.num_rows for batch in dataset.iter(100)) == 2500

    assert (dataset.stats().total.rows, dataset.stats().total.chunks) == (2500, 3)


def test_a_resumed_pass_has_a_position_and_rows_of_its_own() -> None:
    """The position counts the rows before the state, the rows do not."""
    dataset = in_memory(5000)
    rows = iter(dataset)
    list(islice(rows, 2000))
    state = rows.state_dict()
    rows.close()
    dataset.load_state_dict(state)
    assert len(list(dataset)) == 3000
    (reader,) = dataset.stats().readers

    assert (reader.rows, reader.position) == (3000, 5000)


def test_every_epoch_is_counted_anew() -> None:
    """A second pass begins its counts at 0, and names its epoch."""
    dataset = in_memory(100).shuffle(seed=3)
    list(dataset)
    dataset.set_epoch(4)
    list(islice(dataset, 7))
    (reader,) = dataset.stats().readers

    assert (reader.rows, reader.epoch, reader.is_over) == (7, 4, False)


def test_a_reader_whose_processor_time_begins_anew_reads_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a fork, and in a thread with the number of one that ended, it begins at 0."""
    dataset = in_memory(10)
    monkeypatch.setattr(time, "thread_time_ns", lambda: 10**9)
    rows = iter(dataset)
    next(rows)
    monkeypatch.setattr(time, "thread_time_ns", lambda: 10**6)

    assert len(list(rows)) == 9
    assert dataset.stats().total.worked_s == 0


def test_the_newest_pass_is_the_one_that_is_told() -> None:
    """Of two passes at once the newest is told; the older goes on without being seen."""
    dataset = in_memory(3000)
    older = iter(dataset)
    next(older)
    newer = iter(dataset)
    assert len(list(islice(newer, 5))) == 5
    assert len(list(older)) == 2999
    newer.close()

    assert dataset.stats().total.rows == 5


def test_datasets_are_counted_apart() -> None:
    """What is made of a dataset, a copy of it and what was pickled have counts of their own."""
    dataset = in_memory(50)
    list(dataset)
    others = [dataset.take(10), pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)]

    assert [other.stats().total.rows for other in others] == [0, 0, 0]
    assert [len(list(other)) for other in others] == [10, 50, 50]
    assert [other.stats().total.rows for other in others] == [10, 50, 50]


def test_memory_that_was_given_back_holds_nothing_of_before() -> None:
    """A dataset that takes the memory of one before it begins with nothing."""
    for rows in (40, 30):
        dataset = in_memory(rows)
        first = iter(dataset)
        next(first)
        assert len(list(dataset)) == rows
        assert dataset.stats().total.rows == rows
        del dataset, first


def test_states_know_nothing_of_it() -> None:
    """The state of a dataset that is counted is that of one that is not asked."""
    asked, other = in_memory(2000), in_memory(2000)
    for _, row in zip(islice(other, 100), asked, strict=False):
        assert asked.stats().readers[0].rows <= row["n"]

    assert asked.state_dict() == other.state_dict()


def test_it_is_json() -> None:
    """``as_dict`` holds JSON values, units in their names."""
    dataset = in_memory(10)
    list(dataset)
    told = json.loads(json.dumps(dataset.stats().as_dict()))

    assert set(told) == {"total", "readers", "uncounted_workers"}
    assert told["readers"][0]["rows"] == told["total"]["rows"] == 10
    assert told["readers"][0]["wait_p99_s"] > 0


class SlowBackend(InMemoryBackend):
    """Chunks of which each is waited for."""

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Yield the chunks, each after 20 ms."""
        for chunk in super().chunks(selection):
            until_s = time.monotonic() + 0.02
            while time.monotonic() < until_s:
                pass
            yield chunk


def test_waits_are_where_the_time_goes() -> None:
    """Behind a slow backend the time is waited; behind a fast one and a slow loop it is not."""
    slow = ComposableIterableDataset(SlowBackend([{"n": n} for n in range(5000)]))
    list(slow)
    fast = in_memory(5000)
    for row in fast:
        until_s = time.monotonic() + (0.02 if row["n"] % 1024 == 0 else 0.0)
        while time.monotonic() < until_s:
            pass

    waited, worked = slow.stats().total, fast.stats().total
    assert waited.wait_p50_s > 0.018
    assert waited.waited_s > 0.099
    assert worked.elapsed_s - worked.waited_s > 0.099


def test_a_wait_under_way_is_counted() -> None:
    """Whoever asks while a chunk is waited for sees the seconds of it so far."""
    told: list[Statistics] = []

    class Asking(SlowBackend):
        def chunks(self, selection: Selection) -> Iterator[Chunk]:
            for chunk in super().chunks(selection):
                told.append(dataset.stats())
                yield chunk

    dataset = ComposableIterableDataset(Asking([{"n": 1}]))
    list(dataset)

    assert told[0].total.waited_s >= 0.02
    assert told[0].total.wait_share > 0
    assert told[0].readers[0].chunks == 0


# ---- the slots


def test_workers_beyond_the_slots_are_named() -> None:
    """Workers that have no slot count for themselves, and are said to be missing."""
    board = Board()
    board.prepare()
    meters = [board.begin((number, WORKERS + 6), 0, 0) for number in range(WORKERS + 6)]
    for meter in meters:
        meter.stop(10)
    snapshots, uncounted = board.newest()

    assert (len(snapshots), uncounted) == (WORKERS, 6)
    assert statistics_of(snapshots, 0, uncounted).total.rows == 10 * WORKERS
    assert meters[-1].end().rows == 10


def test_fewer_workers_than_before_are_told_alone() -> None:
    """Of a pass with two workers the four of the pass before are no part."""
    board = Board()
    board.prepare()
    for workers in (4, 2):
        for number in range(workers):
            board.begin((number, workers), 0, 0).stop(workers)
    snapshots, _ = board.newest()

    assert [(snapshot.worker, snapshot.rows) for snapshot in snapshots] == [(0, 2), (1, 2)]


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n"), min_size=1)))
def test_the_newest_servers_fit(servers: list[str]) -> None:
    """A slot names as many servers as fit, the newest of them."""
    slot = Slot(bytearray(SLOT_BYTES))
    slot.name(servers)
    named = slot.snapshot(None).servers

    assert list(named) == servers[len(servers) - len(named) :]
    assert named == tuple(servers) or len("\n".join(servers)) > MOST_TEXT_BYTES - 2


# ---- rows of servers


def save(folder: Path) -> Path:
    """Save rows of which a page holds few."""
    from datasets import Dataset

    texts = [f"row {n} " + "x" * 400 for n in range(ROWS)]
    Dataset.from_dict({"n": list(range(ROWS)), "text": texts}).save_to_disk(str(folder))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("statistics") / "rows")


Serve = Callable[[], Server]


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Return a call that starts a server of the rows."""
    with contextlib.ExitStack() as stack:

        def start() -> Server:
            config = ServerConfig(port=0, auth_token="secret", local={"rows": folder})
            return stack.enter_context(Server(config))

        yield start


def test_local_rows_are_counted(folder: Path) -> None:
    """Rows of a local dataset are counted, shuffled too."""
    dataset = ComposableIterableDataset(local_load(LoadArguments(str(folder)))).shuffle(seed=1)
    assert len(list(dataset)) == ROWS
    told = dataset.stats().total

    assert (told.rows, told.requests, told.retries, told.fail_overs) == (ROWS, 0, 0, 0)


@pytest.mark.parametrize("body", ["arrow", "ndjson"])
def test_requests_and_bytes_are_those_of_the_server(serve: Serve, body: str) -> None:
    """Rows of a server are counted with the requests, the bytes and the URL, without the token."""
    server = serve()
    # A server that is slow to answer would be taken for a far one, and its rows be compressed.
    transfer = Transfer(body=body, compression=None)
    backend = load_remote(server.url, ARGUMENTS, token="secret", transfer=transfer)
    dataset = ComposableIterableDataset(backend)
    assert len(list(dataset)) == ROWS
    told = dataset.stats().total

    assert (told.rows, told.servers) == (ROWS, (server.url,))
    assert told.requests >= 2
    assert ROWS * 400 < told.received_bytes < ROWS * 500
    assert (told.retries, told.fail_overs) == (0, 0)
    assert "secret" not in json.dumps(dataset.stats().as_dict())


def test_bytes_are_counted_as_they_come(start_server: StartServer) -> None:
    """The bytes are those of the body, the requests those for rows, to the last one."""
    lines = b'{"n": 0}\n{"n": 1}\n{"n": 2}\n'

    def respond(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("/iter"):
            connection.sendall(response(lines, content_type=NDJSON))
        else:
            connection.sendall(response(json.dumps({"handle": "h", "length": 3}).encode()))

    server: RawServer = start_server(respond)
    dataset = ComposableIterableDataset(load_remote(server.url, ARGUMENTS))
    assert len(list(dataset)) == 3
    told = dataset.stats().total

    assert (told.requests, told.received_bytes, told.chunks) == (1, len(lines), 1)


class Either:
    """Finds the servers in turn; one that failed is not named again."""

    can_choose = True

    def __init__(self, *urls: str) -> None:
        self._urls = list(urls)

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        if not self._urls:
            raise ServerUnreachable("There is no server left.")
        return Found(self._urls[0], "secret", self._urls[0])

    def suspect(self, found: Found) -> None:
        if self._urls[:1] == [found.url]:
            del self._urls[0]

    def refuse(self, found: Found, error: FdssError) -> None:
        raise error


def test_a_dying_server_is_a_retry_and_a_fail_over(serve: Serve) -> None:
    """When the server dies in the middle, the retries and the change of server are counted."""
    first, second = serve(), serve()
    finder = Either(first.url, second.url)
    backend = ResilientRemoteBackend(ARGUMENTS, finder, patience=QUICK, transfer=SMALL)
    dataset = ComposableIterableDataset(backend)
    numbers = []
    for row in dataset:
        numbers.append(row["n"])
        if len(numbers) == 300:
            first.close()
    told = dataset.stats().total

    assert numbers == list(range(ROWS))
    assert (told.rows, told.fail_overs, told.servers) == (ROWS, 1, (first.url, second.url))
    assert told.retries >= 1


def test_a_server_that_comes_back_is_no_fail_over(folder: Path) -> None:
    """When the same server goes on after its restart, rows come from no other one."""
    config = ServerConfig(port=0, auth_token="secret", local={"rows": folder})
    with contextlib.ExitStack() as stack:
        first = Server(config).__enter__()
        again = ServerConfig(port=first.config.port, auth_token="secret", local={"rows": folder})
        one = OneServer(first.url, "secret")
        backend = ResilientRemoteBackend(ARGUMENTS, one, patience=QUICK, transfer=SMALL)
        dataset = ComposableIterableDataset(backend)
        rows = iter(dataset)
        assert len(list(islice(rows, 300))) == 300
        first.close()
        stack.enter_context(Server(again))
        assert len(list(rows)) == ROWS - 300
    told = dataset.stats().total

    assert (told.rows, told.fail_overs, told.servers) == (ROWS, 0, (first.url,))


def test_retries_are_seen_while_rows_are_waited_for(start_server: StartServer) -> None:
    """In the middle of an outage the retries so far are told, and the wait."""
    told: list[Statistics] = []
    left = iter(range(3))

    def respond(request: Request, connection: socket.socket) -> None:
        if not request.path.endswith("/iter"):
            body = {"handle": "h", "length": 1}
            connection.sendall(response(json.dumps(body).encode()))
            return
        told.append(dataset.stats())
        if next(left, None) is not None:
            connection.sendall(response(status="503 Busy", headers={"Retry-After": "0"}))
        else:
            connection.sendall(response(b'{"n": 0}\n', content_type=NDJSON))

    server: RawServer = start_server(respond)
    backend: Backend = ResilientRemoteBackend(ARGUMENTS, OneServer(server.url), patience=QUICK)
    dataset = ComposableIterableDataset(backend)
    assert [row["n"] for row in dataset] == [0]

    assert [statistics.total.retries for statistics in told] == [0, 1, 2, 3]
    assert told[-1].total.waited_s > told[0].total.waited_s
    assert dataset.stats().total.requests == 4


# ---- the line at the end


def test_no_line_is_written_unasked(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is told at the end of an epoch when nobody asks for it."""
    with caplog.at_level(logging.INFO, "fdss.client"):
        list(in_memory(10))

    assert not caplog.records


def test_a_line_is_written_when_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of an epoch one line has the counts; a pass that is broken off has none."""
    monkeypatch.setenv(VARIABLE, "1")
    dataset = in_memory(1234).distribute(1, 2, 1, tail="drop")
    dataset.set_epoch(2)
    list(islice(dataset, 3))
    assert not caplog.records
    list(dataset)
    (record,) = caplog.records

    assert (record.levelno, record.name.rpartition(".")[0]) == (logging.INFO, "fdss.client")
    assert record.getMessage().startswith("InMemoryBackend, epoch 2, rank 1/2: 617 rows in ")
    for part in ("rows/s, waited ", "(p50 ", "p95 ", "p99 ", "0 retries, 0 fail-overs"):
        assert part in record.getMessage()


def test_the_line_is_shown_where_no_log_is_set_up(
    run_python: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that sets up no logging shows the line on standard error."""
    program = (
        "import os\n"
        f"os.environ['{VARIABLE}'] = '1'\n"
        "from fdss.client import ComposableIterableDataset, InMemoryBackend\n"
        "list(ComposableIterableDataset(InMemoryBackend([{'n': 1}])))\n"
    )
    shown = run_python("-c", program).stderr

    assert shown.startswith("fdss.client.summaries: InMemoryBackend, epoch 0: 1 rows in 0.0 s, ")
    assert shown.count("\n") == 1


def test_a_variable_that_is_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither 0 nor 1 is refused before the first row."""
    monkeypatch.setenv(VARIABLE, "yes")

    with pytest.raises(SettingError, match=VARIABLE):
        next(iter(in_memory(1)))


def test_lines_name_seconds_and_milliseconds() -> None:
    """A wait of a second and more is told in seconds."""
    board = Board()
    snapshot = board.begin(None, 0, 0).end()
    waits = list(snapshot.waits)
    waits[bucket_of(90 * 10**9)] = waits[bucket_of(2 * 10**6)] = 1

    assert "(p50 1.98 ms, p95 88.1 s, p99 88.1 s)" in str(
        statistics_of([replace(snapshot, waits=waits)], 0)
    )
