"""Arrow bodies that are not what was asked for end in an error at the right row."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
from raw_server import Request, StartServer, chunk, description, page_headers, response

from fdss.backend import Row, Selection
from fdss.client import RemoteBackend
from fdss.errors import FdssError, PageCut, PageForeign
from fdss.wire import names

LENGTH = 100
BATCH_ROWS = 10

Serve = Callable[..., RemoteBackend]


def body_of(table: pa.Table, batch_rows: int = BATCH_ROWS) -> bytes:
    """Return a table as an Arrow stream of small batches."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return sink.getvalue()


WHOLE = body_of(pa.table({"n": range(LENGTH)}))
#: Where a batch ends, so that a cut there leaves whole messages.
SCHEMA_BYTES = len(body_of(pa.table({"n": pa.array([], pa.int64())}))) - 8
BATCH_BYTES = (len(WHOLE) - SCHEMA_BYTES - 8) // (LENGTH // BATCH_ROWS)


@pytest.fixture
def serve(start_server: StartServer) -> Serve:
    """Return a call that gives the backend of a server which sends one Arrow body."""

    def start(body: bytes, *, chunked: bool = True, length: int | None = None) -> RemoteBackend:
        def answer(request: Request, connection: socket.socket) -> None:
            if not request.path.endswith("/iter"):
                connection.sendall(response(description(LENGTH)))
                return
            headers = {**page_headers(request, length=LENGTH), names.TYPES_HEADER: "arrow"}
            sent = response(
                body,
                content_type=names.ARROW,
                headers=headers,
                length=None if chunked else length or len(body),
            )
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_RDWR)

        return RemoteBackend(start_server(answer).url, "abcd", timeout_s=60)

    return start


def read_to_error(backend: RemoteBackend) -> tuple[list[Row], FdssError]:
    got: list[Row] = []
    with pytest.raises(FdssError) as caught:
        for row in rows_of(backend):
            got.append(row)
    return got, caught.value


def rows_of(backend: RemoteBackend) -> Iterator[Row]:
    for part in backend.chunks(Selection(range(LENGTH), range(LENGTH))):
        yield from part.rows()


@pytest.mark.parametrize("chunked", [True, False])
def test_a_whole_body_gives_its_rows(serve: Serve, chunked: bool) -> None:
    """All rows arrive, in order, with and without a length."""
    backend = serve(chunk(WHOLE) + b"0\r\n\r\n" if chunked else WHOLE, chunked=chunked)

    assert [row["n"] for row in rows_of(backend)] == list(range(LENGTH))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    ("kept_bytes", "rows"),
    [
        (0, 0),
        (SCHEMA_BYTES // 2, 0),
        (SCHEMA_BYTES, 0),
        (SCHEMA_BYTES + 3 * BATCH_BYTES, 30),
        (SCHEMA_BYTES + 3 * BATCH_BYTES + 5, 30),
        (SCHEMA_BYTES + 4 * BATCH_BYTES - 1, 30),
    ],
)
def test_a_cut_body_is_a_cut_page(serve: Serve, chunked: bool, kept_bytes: int, rows: int) -> None:
    """Rows that came whole are given, then PageCut says how many there were."""
    kept = WHOLE[:kept_bytes]
    # In a chunked body each batch came in a chunk of its own, and the connection then broke.
    cuts = [SCHEMA_BYTES, *(SCHEMA_BYTES + n * BATCH_BYTES for n in range(1, 11))]
    parts = [kept[begin:end] for begin, end in zip([0, *cuts], cuts, strict=False)]
    body = b"".join(chunk(part) for part in parts if part) if chunked else kept
    got, error = read_to_error(serve(body, chunked=chunked, length=len(WHOLE)))

    assert [row["n"] for row in got] == list(range(rows))
    assert isinstance(error, PageCut)
    assert f"after {rows}" in error.message


def test_fewer_rows_are_a_cut_page(serve: Serve) -> None:
    """A well-formed stream of fewer rows than were asked for is no page."""
    got, error = read_to_error(serve(body_of(pa.table({"n": range(99)})), chunked=False))

    assert len(got) == 99
    assert isinstance(error, PageCut)


@pytest.mark.parametrize(
    "body",
    [
        body_of(pa.table({"n": range(LENGTH + 1)}), LENGTH + 1),
        body_of(pa.table({"m": range(LENGTH)})),
        body_of(pa.table({"n": range(LENGTH), "m": range(LENGTH)})),
        b"<html>not here</html>" * 100,
        b"\x00" * 4096,
    ],
    ids=["more rows", "another column", "one more column", "text", "zeros"],
)
def test_a_foreign_body_is_refused(serve: Serve, body: bytes) -> None:
    """Rows beyond those asked for, other columns, and what is no Arrow at all are refused."""
    got, error = read_to_error(serve(body, chunked=False))

    assert [row["n"] for row in got] == list(range(len(got)))
    assert isinstance(error, PageForeign | PageCut)
