"""Pages of rows against a server that answers with exact bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from raw_server import (
    FINGERPRINT,
    NDJSON,
    Request,
    StartServer,
    answer_pages,
    chunk,
    description,
    page_headers,
    response,
    row_lines,
)

from fdss.backend import Row, Runs, Selection
from fdss.client.link import Link, PageSize
from fdss.client.pages import Transfer, asked_page
from fdss.client.readahead import THREAD_NAME, ReadAhead
from fdss.client.reading import BatchEnds, PageReader, Served
from fdss.client.remote import RemoteBackend
from fdss.client.session import ServerSession
from fdss.errors import (
    BadParameter,
    ContentChanged,
    FdssError,
    PageCut,
    PageForeign,
    UnknownColumn,
)
from fdss.rows import RowMaker
from fdss.wire.names import ARROW

LENGTH = 100
Page = Callable[[Request], bytes]
Serve = Callable[..., RemoteBackend]


def whole(length: int = LENGTH, **changes: Any) -> Selection:
    return Selection(**{"rows": range(length), "positions": range(length), **changes})


def page_of(
    request: Request,
    body: bytes,
    *,
    headers: dict[str, str | None] | None = None,
    length: int | None = -1,
) -> bytes:
    changed = {**page_headers(request, length=LENGTH), **(headers or {})}
    return response(
        body,
        content_type=NDJSON,
        headers={name: value for name, value in changed.items() if value is not None},
        length=length,
    )


@pytest.fixture
def serve(start_server: StartServer) -> Serve:
    """Return a call that gives the backend of a server which answers every page the same way."""

    def start(page: Page, *, then_close: bool = False, told: bytes | None = None) -> RemoteBackend:
        def answer(request: Request, connection: socket.socket) -> None:
            if request.path.endswith("/iter"):
                connection.sendall(page(request))
                if then_close:
                    connection.shutdown(socket.SHUT_RDWR)
            else:
                connection.sendall(response(told or description(LENGTH)))

        return RemoteBackend(start_server(answer).url, "abcd", timeout_s=60)

    return start


def read_to_error(rows: Iterator[Row]) -> tuple[list[Row], FdssError]:
    got: list[Row] = []
    with pytest.raises(FdssError) as caught:
        for row in rows:
            got.append(row)
    return got, caught.value


def rows_of(backend: RemoteBackend, selection: Selection | None = None) -> Iterator[Row]:
    for part in backend.chunks(selection or whole()):
        yield from part.rows()


def numbers(begin: int, end: int) -> list[Row]:
    return [{"n": number} for number in range(begin, end)]


def test_whole_page_gives_its_rows(serve: Serve) -> None:
    """All rows of a page arrive, in order."""
    backend = serve(lambda request: page_of(request, row_lines(0, LENGTH)))
    assert list(rows_of(backend)) == numbers(0, LENGTH)


@pytest.mark.parametrize("length", [None, LENGTH * 8], ids=["chunked", "content-length"])
def test_cut_body_raises_at_the_right_row(serve: Serve, length: int | None) -> None:
    """A connection that ends inside the body gives the rows before it, then PageCut."""
    lines = row_lines(0, 40) + b'{"n":4'
    body = chunk(lines)[:-4] if length is None else lines
    backend = serve(lambda request: page_of(request, body, length=length), then_close=True)
    got, error = read_to_error(rows_of(backend))
    assert got == numbers(0, len(got))
    assert len(got) == 40
    assert isinstance(error, PageCut)
    assert f"after {len(got)}" in error.message


@pytest.mark.parametrize("is_chunked", [True, False])
def test_pages_of_lines_keep_their_connection(start_server: StartServer, is_chunked: bool) -> None:
    """A page that was read to its end leaves the connection to the next one."""

    def answer(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("/iter"):
            begin = int(request.query["position"])
            lines = row_lines(begin, begin + int(request.query["limit"]))
            body = chunk(lines) + b"0\r\n\r\n" if is_chunked else lines
            length = None if is_chunked else -1
            connection.sendall(page_of(request, body, length=length))
        else:
            connection.sendall(response(description(LENGTH)))

    server = start_server(answer)
    backend = RemoteBackend(server.url, "abcd", timeout_s=60)
    for _ in range(4):
        assert list(rows_of(backend)) == numbers(0, LENGTH)
    # One for what is asked, and one for the rows.
    assert len(server.connections) <= 2
    assert len(server.requests) > 4


def test_a_reader_over_a_link_that_always_breaks_comes_to_the_end(serve: Serve) -> None:
    """Each page is cut after a row, with its length told: each brings that row."""

    def page(request: Request) -> bytes:
        begin = int(request.query["position"])
        return page_of(request, row_lines(begin, begin + 1) + b'{"n"', length=4096)

    backend = serve(page, then_close=True)
    got: list[Row] = []
    while len(got) < 10:
        rows, error = read_to_error(rows_of(backend, whole(positions=range(len(got), LENGTH))))
        assert isinstance(error, PageCut)
        assert rows
        got += rows
    assert got == numbers(0, len(got))


CUTS: dict[str, tuple[bytes, int]] = {
    "fewer rows than asked": (row_lines(0, 99), 99),
    "half a line at the end": (row_lines(0, 40) + b'{"n":4', 40),
    "a whole object without its line end": (row_lines(0, LENGTH)[:-1], 99),
    "a broken line in the middle": (row_lines(0, 7) + b'{"n":\n' + row_lines(8, 100), 7),
    "nothing": (b"", 0),
}


@pytest.mark.parametrize("case", CUTS)
def test_short_body_that_ends_properly_is_a_cut(serve: Serve, case: str) -> None:
    """Rows are counted, whatever the transport says: missing ones raise PageCut behind the rest."""
    body, count = CUTS[case]
    got, error = read_to_error(rows_of(serve(lambda request: page_of(request, body))))
    assert got == numbers(0, count)
    assert isinstance(error, PageCut)
    assert f"after {count}" in error.message


def test_stalled_body_is_a_cut(start_server: StartServer) -> None:
    """A server that stops sending inside a page is given up after the timeout."""

    def answer(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("/iter"):
            connection.sendall(page_of(request, chunk(row_lines(0, 3)), length=None))
        else:
            connection.sendall(response(description(LENGTH)))

    backend = RemoteBackend(start_server(answer).url, "abcd", timeout_s=5)
    got, error = read_to_error(rows_of(backend))
    assert got == numbers(0, 3)
    assert isinstance(error, PageCut)


def test_rows_are_given_as_they_trickle_in(start_server: StartServer) -> None:
    """A row is handed out before the next one is sent."""
    turns: list[Row] = []

    def answer(request: Request, connection: socket.socket) -> None:
        if not request.path.endswith("/iter"):
            connection.sendall(response(description(LENGTH)))
            return
        connection.sendall(page_of(request, b"", length=None))
        for number in range(3):
            connection.sendall(chunk(row_lines(number, number + 1)))
            assert taken[number].acquire(timeout=60)
        connection.sendall(b"0\r\n\r\n")

    taken = [threading.Semaphore(0) for _ in range(3)]
    backend = RemoteBackend(start_server(answer).url, "abcd", timeout_s=60)
    for row in rows_of(backend, whole(positions=range(3))):
        turns.append(row)
        taken[row["n"]].release()
    assert turns == numbers(0, 3)


def test_a_missing_end_behind_the_last_row_changes_nothing(serve: Serve) -> None:
    """A page whose rows have all come is whole even when the end of the body is missing."""
    backend = serve(
        lambda request: page_of(request, chunk(row_lines(0, LENGTH)), length=None), then_close=True
    )
    assert list(rows_of(backend)) == numbers(0, LENGTH)


FOREIGN: dict[str, dict[str, str | None]] = {
    "another order": {"FDSS-Order": "v2"},
    "another position": {"FDSS-Position": "1"},
    "another row count": {"FDSS-Rows": "99"},
    "another length": {"FDSS-Length": "101"},
    "another dialect": {"FDSS-Types": "plain"},
    "no order": {"FDSS-Order": None},
    "no row count": {"FDSS-Rows": None},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_page_that_says_it_is_another_is_refused(serve: Serve, case: str) -> None:
    """No row is taken from a page whose headers name something else than was asked."""
    backend = serve(lambda request: page_of(request, row_lines(0, LENGTH), headers=FOREIGN[case]))
    got, error = read_to_error(rows_of(backend))
    assert got == []
    assert type(error) is PageForeign


@pytest.mark.parametrize("tag", ['"other"', "", None])
def test_other_fingerprint_is_changed_content(serve: Serve, tag: str | None) -> None:
    """No row is taken from a page whose ETag is not the fingerprint."""
    backend = serve(lambda request: page_of(request, row_lines(0, LENGTH), headers={"ETag": tag}))
    got, error = read_to_error(rows_of(backend))
    assert got == []
    assert type(error) is ContentChanged


def test_more_rows_than_asked_are_refused(serve: Serve) -> None:
    """A page with a row too many is foreign, not cut."""
    backend = serve(lambda request: page_of(request, row_lines(0, LENGTH + 1)))
    _, error = read_to_error(rows_of(backend))
    assert type(error) is PageForeign


@pytest.mark.parametrize("line", [b"[]", b"", b"1", b"{},{}", b'{"n":{"__date__":"x"}}'])
def test_a_line_that_is_no_row_is_foreign(serve: Serve, line: bytes) -> None:
    """What is not one JSON object of the dialect is refused behind the rows before it."""
    body = row_lines(0, 7) + line + b"\n" + row_lines(8, 100)
    got, error = read_to_error(rows_of(serve(lambda request: page_of(request, body))))
    assert got == numbers(0, 7)
    assert type(error) is PageForeign
    assert "Row 7" in error.message


def test_html_is_foreign(serve: Serve) -> None:
    """A proxy's page with status 200 is not taken for rows."""
    backend = serve(lambda request: response(b"<html>hello</html>", content_type="text/html"))
    _, error = read_to_error(rows_of(backend))
    assert type(error) is PageForeign
    assert "text/html" in error.message


def test_text_with_unicode_line_ends_stays_one_row(serve: Serve) -> None:
    """Only a line feed ends a row."""
    features = {"n": {"dtype": "string", "_type": "Value"}}
    text = "a\u2028b\u0085c\u000bd\r"
    body = b'{"n":"a\xe2\x80\xa8b\xc2\x85c\\u000bd\\r"}\n' * LENGTH
    backend = serve(
        lambda request: page_of(request, body), told=description(LENGTH, features=features)
    )
    assert list(rows_of(backend)) == [{"n": text}] * LENGTH


def test_every_request_names_what_it_wants(start_server: StartServer) -> None:
    """Pages follow one another by position, and ask for the fingerprint and Arrow bodies."""

    server = start_server(answer_pages(1000))
    assert list(rows_of(RemoteBackend(server.url, "abcd"), whole(1000))) == numbers(0, 1000)
    pages = [request for request in server.requests if request.path.endswith("/iter")]
    assert [page.query["position"] for page in pages] == ["0", "256"]
    assert {page.headers["if-match"] for page in pages} == {f'"{FINGERPRINT}"'}
    assert {page.headers["accept"] for page in pages} == {f"{ARROW}, {NDJSON};q=0.5"}
    assert {page.headers["accept-encoding"] for page in pages} == {"identity"}
    assert 1 <= len(server.connections) <= 2


ASKED: dict[str, tuple[Selection, dict[str, str | int]]] = {
    "stored": (whole(), {"position": 10, "limit": 5}),
    "stored slice": (whole(rows=range(20, 80), positions=range(60)), {"position": 30, "limit": 5}),
    "stored stride": (
        whole(rows=range(1, 90, 2), positions=range(0, 45, 2)),
        {"position": 41, "limit": 5, "stride": 4},
    ),
    "runs": (whole(runs=Runs(4, 2)), {"position": 18, "limit": 5, "run": "4:2:2"}),
    "inside a run": (whole(runs=Runs(20, 2)), {"position": 10, "limit": 5}),
    "runs of a stride": (
        whole(positions=range(2, 100, 3), runs=Runs(4, 2, 1)),
        {"position": 56, "limit": 5, "stride": 3, "run": "4:2:3"},
    ),
    "seed": (whole(seed=7), {"position": 10, "limit": 5, "seed": 7, "block": 16}),
    "seed over a slice": (
        whole(rows=range(0, 100, 3)[1:], positions=range(33), seed=0, block=2, window=8),
        {
            "position": 10,
            "limit": 5,
            "seed": 0,
            "block": 2,
            "window": 8,
            "rows": "3:100:3",
        },
    ),
    "columns": (
        whole(columns=("n", "a,b", "50%")),
        {"position": 10, "limit": 5, "columns": "n,a%2Cb,50%25"},
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_selection_becomes_parameters(case: str) -> None:
    """A page asks for its part of the selection in the parameters of the API."""
    selection, parameters = ASKED[case]
    page = asked_page(selection, LENGTH, 10, 5)
    assert page.parameters == parameters
    assert (page.rows, page.position) == (5, parameters["position"])


def test_pages_grow_with_measured_rows() -> None:
    """The first page has 256 rows; then they begin at 1 MiB and double to 16 MiB."""
    size = PageSize()
    grown = []
    for _ in range(7):
        grown.append(size.next_rows())
        size.measure(row_bytes=1024, rate=1e9)
    assert grown == [256, 1024, 2048, 4096, 8192, 16384, 16384]
    size.measure(row_bytes=100 << 20, rate=1e9)
    assert size.next_rows() == 1


def test_pages_of_a_distant_link_need_no_steps() -> None:
    """A page leaps to the bytes that arrive in half a second, but not beyond 16 MiB."""
    for rate, expected in ((8 << 20, 4096), (1 << 30, 16384), (1 << 10, 1024)):
        size = PageSize()
        size.measure(row_bytes=1024, rate=rate)
        size.leap()

        assert size.next_rows() == expected


def test_neighbours_that_share_a_link_give_its_speed_together() -> None:
    """A page that came slowly beside the next, and the next that came at once, are one speed."""
    link = Link()
    link.add(1000, 1.5)
    link.add(1000, 0.25)

    assert link.rate() == 1500
    assert link.rate(500, 1.0) == 1000


def test_pages_end_where_batches_end() -> None:
    """Once a whole batch was seen, a page ends with a batch, and is never empty for it."""
    batches = BatchEnds()
    assert batches.whole(256, 700) == 700
    batches.learn(1000, 500)
    assert batches.whole(256, 700) == 244
    assert batches.whole(500, 700) == 500
    assert batches.whole(1500, 1999) == 1500
    assert batches.whole(1600, 300) == 300


def test_next_page_is_under_way_before_the_present_one_ends(start_server: StartServer) -> None:
    """Pages overlap, over two connections, once the size of a row is known."""
    overlapped = threading.Event()

    def answer(request: Request, connection: socket.socket) -> None:
        begin, count = int(request.query["position"]), int(request.query["limit"])
        headers = page_headers(request, length=1000)
        connection.sendall(response(b"", content_type=NDJSON, headers=headers, length=None))
        connection.sendall(chunk(row_lines(begin, begin + 1)))
        if begin:
            overlapped.set()
        else:
            assert overlapped.wait(60)
        connection.sendall(chunk(row_lines(begin + 1, begin + count)) + b"0\r\n\r\n")

    server = start_server(answer)
    served = Served(ServerSession(server.url), "abcd", 1000, FINGERPRINT, RowMaker({}))
    reader = PageReader(served, whole(1000), 1 << 20)
    parts = ReadAhead(partial(reader.chunks, 0), 4 << 20)
    assert [row["n"] for part in parts for row in part.rows()] == list(range(1000))
    assert len(server.connections) == 2


def test_page_under_way_is_given_up_with_the_present_one(start_server: StartServer) -> None:
    """When a page is cut, the next one, asked for already, leaves neither thread nor connection."""
    asked = threading.Event()

    def answer(request: Request, connection: socket.socket) -> None:
        if int(request.query["position"]):
            asked.set()
            return
        headers = page_headers(request, length=1000)
        connection.sendall(response(b"", content_type=NDJSON, headers=headers, length=None))
        connection.sendall(chunk(row_lines(0, 1)))
        assert asked.wait(60)
        connection.shutdown(socket.SHUT_RDWR)

    server = start_server(answer)
    # Whoever waited for the page that never comes would wait for longer than a test may take.
    session = ServerSession(server.url, timeout_s=3600)
    served = Served(session, "abcd", 1000, FINGERPRINT, RowMaker({}))
    reader = PageReader(served, whole(1000), 1 << 20)
    before = set(threading.enumerate())
    parts = ReadAhead(partial(reader.chunks, 0), 4 << 20)
    assert len(next(parts)) == 1
    with pytest.raises(PageCut):
        next(parts)
    parts.close()
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == THREAD_NAME]
    assert [server.left.acquire(timeout=60) for _ in range(2)] == [True, True]


def test_columns_a_dataset_has_not_are_refused_unasked(serve: Serve) -> None:
    """A column that is not there is refused before any page is asked for."""
    backend = serve(lambda request: b"")
    with pytest.raises(UnknownColumn, match="'m'"):
        next(backend.chunks(whole(columns=("m",))))


def test_rows_without_columns_are_not_asked_for(serve: Serve) -> None:
    """A selection of no columns gives empty rows, and asks for no page."""
    backend = serve(lambda request: b"")

    assert list(rows_of(backend, whole(columns=()))) == [{}] * LENGTH


class TestOldServer:
    """A server from before FDSS says nothing about its pages."""

    @pytest.fixture
    def backend(self, start_server: StartServer) -> RemoteBackend:
        told = b'{"handle":"abcd","length":100,"source":"hf","load_args":{},"column_names":["n"]}'

        def answer(request: Request, connection: socket.socket) -> None:
            if not request.path.endswith("/iter"):
                connection.sendall(response(told))
                return
            begin, count = int(request.query["position"]), int(request.query["limit"])
            lines = row_lines(begin, min(begin + count, 100))
            connection.sendall(response(lines, content_type=NDJSON))

        return RemoteBackend(start_server(answer).url, "abcd", timeout_s=60)

    def test_stored_rows_are_read(self, backend: RemoteBackend) -> None:
        """Rows in stored order and slices of them are read by position and limit."""
        part = whole(rows=range(20, 90), positions=range(5, 50))
        assert list(rows_of(backend)) == numbers(0, 100)
        assert list(rows_of(backend, part)) == numbers(25, 70)

    @pytest.mark.parametrize(
        "selection",
        [
            whole(seed=1),
            whole(positions=range(0, 100, 2)),
            whole(columns=("n",)),
        ],
        ids=["seed", "stride", "columns"],
    )
    def test_what_it_ignores_is_refused(self, backend: RemoteBackend, selection: Selection) -> None:
        """Rows of an order it cannot know are not taken from it."""
        got, error = read_to_error(rows_of(backend, selection))
        assert got == []
        assert type(error) is PageForeign

    def test_its_content_is_unknown(
        self, backend: RemoteBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It has no features, its fingerprint names handle and length, and a warning says so."""
        assert backend.features == {}
        assert backend.column_names == ["n"]
        assert backend.fingerprint == "unknown:abcd:100"
        assert "no fingerprint" in caplog.text

    def test_its_values_are_plain(self, start_server: StartServer) -> None:
        """Bytes are restored, NaN is understood, and a dict that only looks like bytes stays."""
        lines = (
            b'{"n":{"__bytes_b64__":"AAE="}}\n{"n":[NaN,-Infinity]}\n'
            b'{"n":{"__bytes_b64__":"no base 64"}}\n[]\n'
        )

        def answer(request: Request, connection: socket.socket) -> None:
            is_page = request.path.endswith("/iter")
            told = b'{"handle":"abcd","length":4,"column_names":["n"]}'
            kind = NDJSON if is_page else "application/json"
            connection.sendall(response(lines if is_page else told, content_type=kind))

        got, error = read_to_error(rows_of(RemoteBackend(start_server(answer).url, "a"), whole(4)))
        assert got[0] == {"n": b"\x00\x01"}
        assert str(got[1]) == "{'n': [nan, -inf]}"
        assert got[2:] == [{"n": {"__bytes_b64__": "no base 64"}}]
        assert type(error) is PageForeign
        assert "Row 3" in error.message


@pytest.mark.parametrize(
    ("transfer", "accept", "parameters"),
    [
        (Transfer(), f"{ARROW}, {NDJSON};q=0.5", {}),
        (Transfer("ndjson"), NDJSON, {"types": "tagged"}),
        (Transfer(compression="zstd"), f"{ARROW}, {NDJSON};q=0.5", {"compression": "zstd"}),
    ],
)
def test_transfer_becomes_headers_and_parameters(
    transfer: Transfer, accept: str, parameters: dict[str, str]
) -> None:
    """A transfer says what is asked for."""
    assert (transfer.accept, transfer.parameters(is_slow=False)) == (accept, parameters)


@pytest.mark.parametrize("wrong", [("json", None), ("arrow", "gzip")])
def test_unknown_transfers_are_refused(wrong: tuple[str, str | None]) -> None:
    """A body or a compression that does not exist is refused at once."""
    with pytest.raises(BadParameter):
        Transfer(*wrong)


def test_pages_of_a_slow_link_take_half_a_second() -> None:
    """Pages stop growing at what arrives in half a second, but not below 1 MiB."""
    for rate, expected in ((8 << 20, 4096), (1 << 10, 1024)):
        size = PageSize()
        for _ in range(6):
            rows = size.next_rows()
            size.measure(row_bytes=1024, rate=rate)

        assert rows == expected


def test_compression_is_for_slow_links() -> None:
    """Left to itself, compression is asked for over a link that is far and slow."""
    assert Transfer().parameters(is_slow=True) == {"compression": "zstd"}
    assert Transfer(compression=None).parameters(is_slow=True) == {}
    assert Transfer(compression="lz4").parameters(is_slow=False) == {"compression": "lz4"}
