"""Reading ahead: how far, what ends it, and that nothing of it is left behind."""

from __future__ import annotations

import gc
import socket
import subprocess
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from raw_server import (
    Request,
    StartServer,
    answer_pages,
    response,
)

from fdss.backend import Selection
from fdss.client.connections import Hold
from fdss.client.readahead import THREAD_NAME, Flow, ReadAhead
from fdss.client.remote import RemoteBackend
from fdss.client.session import ServerSession

RunPython = Callable[..., subprocess.CompletedProcess[str]]
WAIT_S = 60


#: What the tests before have left to the garbage collector.
earlier: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def own_readers() -> Iterator[None]:
    """Let a test see the readers alone that are its own."""
    earlier[:] = readers()
    yield
    earlier.clear()


def readers() -> list[threading.Thread]:
    found = [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
    return [thread for thread in found if thread not in earlier]


def assert_no_reader() -> None:
    for thread in readers():
        thread.join(WAIT_S)
    assert readers() == []


def selection(length: int) -> Selection:
    return Selection(rows=range(length), positions=range(length))


class Items:
    """A source of numbers, one byte each, that counts what was asked of it."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.made = threading.Semaphore(0)
        self.closed = threading.Event()

    def __call__(self, flow: Flow[int]) -> Generator[tuple[int, int], None, None]:
        try:
            for number in range(self.count):
                self.made.release()
                yield number, 1
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


def test_items_come_in_order_and_end() -> None:
    """All items of the source arrive, and the thread is gone after the last."""
    assert list(ReadAhead(Items(1000), 10)) == list(range(1000))
    assert_no_reader()


def test_error_comes_behind_the_items_before_it_with_its_traceback() -> None:
    """What the source raises is raised at the consumer, at its place, with where it came from."""
    ahead = ReadAhead(Items(3, KeyError("here")), 10)
    got = []
    with pytest.raises(KeyError) as caught:
        for number in ahead:
            got.append(number)
    assert got == [0, 1, 2]
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert ("__call__", "raise self.error") in [(frame.name, frame.line) for frame in frames]


def test_no_more_is_read_than_the_bound() -> None:
    """A source waits with the item that does not fit, until one is taken."""
    source = Items(100)
    ahead = ReadAhead(source, 3)
    for _ in range(4):
        assert source.made.acquire(timeout=WAIT_S)
    assert not source.made.acquire(timeout=0.05)
    assert next(ahead) == 0
    assert source.made.acquire(timeout=WAIT_S)
    ahead.close()
    assert source.closed.is_set()


def test_item_above_the_bound_passes_alone() -> None:
    """One item larger than the bound is read when nothing else is held."""

    def source(flow: Flow[str]) -> Generator[tuple[str, int], None, None]:
        yield "large", 100
        yield "small", 1

    assert list(ReadAhead(source, 10)) == ["large", "small"]


@pytest.mark.parametrize("end", ["close", "drop", "cycle"])
def test_waiting_thread_ends_with_its_consumer(end: str) -> None:
    """Closing or dropping the iterator ends a thread that waits for room, and its source."""
    source = Items(100)
    ahead: Any = ReadAhead(source, 3)
    assert next(ahead) == 0
    if end == "close":
        ahead.close()
    elif end == "cycle":
        ring: list[Any] = [ahead]
        ring.append(ring)
        del ring
    del ahead
    gc.collect()
    assert source.closed.wait(WAIT_S)
    assert_no_reader()


@pytest.mark.parametrize("end", ["close", "drop", "exception"])
def test_thread_blocked_in_recv_ends_with_its_consumer(start_server: StartServer, end: str) -> None:
    """A reader that waits for the next byte is broken off at once, and its socket closed."""
    server = start_server(answer_pages(100, most_rows=3))
    chunks: Any = RemoteBackend(server.url, "abcd").chunks(selection(100))
    assert next(chunks).rows() == [{"n": 0}, {"n": 1}, {"n": 2}]
    if end == "close":
        chunks.close()
        assert readers() == []
    elif end == "exception":
        with pytest.raises(ZeroDivisionError):
            fail(chunks)
    del chunks
    gc.collect()
    assert_no_reader()
    assert server.left.acquire(timeout=WAIT_S)


def fail(chunks: Any) -> None:
    kept = chunks
    assert kept is not None
    raise ZeroDivisionError


def test_thread_waiting_for_the_first_byte_ends_with_its_consumer(
    start_server: StartServer,
) -> None:
    """An answer that has not begun is broken off as well."""
    asked = threading.Event()
    session = ServerSession(start_server(lambda request, connection: asked.set()).url)

    def source(flow: Flow[bytes]) -> Generator[tuple[bytes, int], None, None]:
        with session.stream("/silent", {}, headers={}, hold=flow.hold) as answer:
            yield answer.content, 1

    ahead = ReadAhead(source, 10)
    assert asked.wait(WAIT_S)
    ahead.close()
    assert readers() == []


def test_many_iterators_leave_nothing(start_server: StartServer) -> None:
    """Loops that end, are broken off and fail leave neither threads nor connections in use."""
    server = start_server(answer_pages(1000))
    backend = RemoteBackend(server.url, "abcd")
    for _ in range(5):
        assert sum(len(chunk) for chunk in backend.chunks(selection(1000))) == 1000
        for chunk in backend.chunks(selection(1000)):
            assert len(chunk)
            break
    del chunk
    gc.collect()
    assert_no_reader()
    used = len(server.connections)
    del backend
    gc.collect()
    for _ in range(used):
        assert server.left.acquire(timeout=WAIT_S)


def test_two_iterators_do_not_mix(start_server: StartServer) -> None:
    """Iterators that are used in turns each give their own rows."""
    backend = RemoteBackend(start_server(answer_pages(2000)).url, "abcd")
    whole = selection(2000)
    both = zip(numbers(backend, whole), numbers(backend, whole), strict=True)
    assert list(both) == [(number, number) for number in range(2000)]


def numbers(backend: RemoteBackend, chosen: Selection) -> Generator[int, None, None]:
    for chunk in backend.chunks(chosen):
        for row in chunk.rows():
            yield row["n"]


def test_end_of_one_reader_leaves_the_next_ones_page_alone(start_server: StartServer) -> None:
    """A connection that went back to the pool is no longer its last reader's to shut down."""
    ended = threading.Event()

    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(response(length=4))
        if request.path == "/2":
            assert ended.wait(WAIT_S)
        connection.sendall(b"page")

    server = start_server(answer)
    session = ServerSession(server.url)
    first, second = Hold(), Hold()
    with session.stream("/1", {}, headers={}, hold=first) as page:
        assert page.content == b"page"
    with session.stream("/2", {}, headers={}, hold=second) as page:
        first.break_off()
        ended.set()
        assert page.content == b"page"
    assert len(server.connections) == 1
    session.close()


def test_exit_in_the_middle_is_quiet(start_server: StartServer, run_python: RunPython) -> None:
    """A program that ends while a page is under way ends at once and says nothing."""
    server = start_server(answer_pages(1000, most_rows=100))
    ended = run_python("-W", "error", "-c", EXITING, server.url)
    assert (ended.stdout, ended.stderr) == ("100\n", "")


EXITING = """
import sys
from fdss.backend import Selection
from fdss.client import RemoteBackend

chunks = RemoteBackend(sys.argv[1], "abcd").chunks(Selection(range(1000), range(1000)))
print(len(next(chunks)))
"""


@pytest.mark.only_on("linux", "darwin")
def test_iterator_goes_on_on_both_sides_of_a_fork(
    start_server: StartServer, run_python: RunPython
) -> None:
    """A forked child reads on from where its parent stood, over a connection of its own."""
    server = start_server(answer_pages(5000))
    ended = run_python("-W", "ignore::DeprecationWarning", "-c", FORKING, server.url)
    assert (ended.stdout, ended.stderr) == ("child True\nparent True\n", "")


FORKING = """
import os, sys
from fdss.backend import Selection
from fdss.client import RemoteBackend

backend = RemoteBackend(sys.argv[1], "abcd")
chunks = backend.chunks(Selection(range(5000), range(5000)))
begin = [row["n"] for row in next(chunks).rows()]
child = os.fork()
rest = [row["n"] for chunk in chunks for row in chunk.rows()]
if child:
    assert os.waitpid(child, 0)[1] == 0
print("parent" if child else "child", begin + rest == list(range(5000)), flush=True)
if not child:
    os._exit(0)
"""


@pytest.mark.only_on("linux", "darwin")
def test_forked_process_makes_connections_of_its_own(
    start_server: StartServer, run_python: RunPython
) -> None:
    """A kept connection stays the parent's: on a shared one answers would be mixed up."""
    server = start_server(lambda request, connection: connection.sendall(response(b"{}")))
    run_python("-W", "ignore::DeprecationWarning", "-c", ASKING, server.url)
    assert [request.path for request in server.requests] == ["/parent", "/child", "/parent"]
    assert len(server.connections) == 2


ASKING = """
import os, sys
from fdss.client import ServerSession

session = ServerSession(sys.argv[1])
session.get_json("/parent")
child = os.fork()
if not child:
    session.get_json("/child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
session.get_json("/parent")
"""


@pytest.mark.only_on("linux", "darwin")
def test_end_in_a_forked_child_leaves_the_parents_page_alone(
    start_server: StartServer, run_python: RunPython
) -> None:
    """A child that drops an inherited iterator, and exits, does not break its parent's off."""
    server = start_server(answer_pages(5000))
    ended = run_python("-W", "ignore::DeprecationWarning", "-c", DROPPING, server.url)
    assert (ended.stdout, ended.stderr) == ("True\n", "")


DROPPING = """
import os, sys
from fdss.backend import Selection
from fdss.client import RemoteBackend, Transfer

backend = RemoteBackend(sys.argv[1], "abcd", transfer=Transfer(read_ahead_bytes=4096))
chunks = backend.chunks(Selection(range(5000), range(5000)))
begin = [row["n"] for row in next(chunks).rows()]
child = os.fork()
if not child:
    chunks.close()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(begin + [row["n"] for chunk in chunks for row in chunk.rows()] == list(range(5000)))
"""


def test_backend_works_in_a_spawned_process(
    start_server: StartServer, run_python: RunPython, tmp_path: Any
) -> None:
    """A backend that is in use can be sent to a spawned process."""
    server = start_server(answer_pages(1000))
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNING, "utf-8")
    ended = run_python(str(script), server.url)
    assert (ended.stdout, ended.stderr) == ("[499500, 499500]\n", "")


SPAWNING = """
import multiprocessing, sys
from fdss.backend import Selection
from fdss.client import RemoteBackend

WHOLE = Selection(range(1000), range(1000))


def total(backend):
    return sum(row["n"] for chunk in backend.chunks(WHOLE) for row in chunk.rows())


if __name__ == "__main__":
    backend = RemoteBackend(sys.argv[1], "abcd")
    chunks = backend.chunks(WHOLE)
    next(chunks)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(total, [backend, backend]))
"""
