"""A server that means harm is given up with a typed error, in bounded time and memory."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pyarrow as pa
import pytest
from raw_server import (
    NDJSON,
    RawServer,
    Request,
    StartServer,
    answer_pages,
    chunk,
    description,
    page_headers,
    response,
    row_lines,
)

from fdss.backend import Row, Selection
from fdss.client.limits import ClientLimits
from fdss.client.pages import Transfer
from fdss.client.remote import RemoteBackend
from fdss.client.session import ServerSession
from fdss.errors import (
    AnswerTooLarge,
    FdssError,
    PageCut,
    PageForeign,
    ServerUnreachable,
    SettingError,
)
from fdss.wire import names

LENGTH = 100
MIB = 1 << 20
TIGHT = ClientLimits(row_bytes=MIB, batch_bytes=2 * MIB, answer_bytes=MIB)
INTEGER = {"dtype": "int64", "_type": "Value"}

Send = Callable[[Request, socket.socket], None]


def stream_of(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    """Return an Arrow body of one batch."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


@pytest.fixture
def attack(start_server: StartServer) -> Callable[..., RemoteBackend]:
    """Return a call that gives the backend of a server which answers pages as a test likes."""

    def start(send: Send, told: bytes | None = None, **settings: Any) -> RemoteBackend:
        def answer(request: Request, connection: socket.socket) -> None:
            if request.path.endswith("/iter"):
                send(request, connection)
                connection.shutdown(socket.SHUT_RDWR)
            else:
                connection.sendall(response(told or description(LENGTH)))

        limits = settings.pop("limits", TIGHT)
        settings = {"timeout_s": 60.0, **settings}
        url = start_server(answer).url
        return RemoteBackend(url, "abcd", transfer=Transfer(limits=limits), **settings)

    return start


Attack = Callable[..., RemoteBackend]


def rows_of(backend: RemoteBackend, rows: int = LENGTH) -> Iterator[Row]:
    for part in backend.chunks(Selection(range(LENGTH), range(rows))):
        yield from part.rows()


def failure(backend: RemoteBackend, rows: int = LENGTH) -> FdssError:
    with pytest.raises(FdssError) as caught:
        list(rows_of(backend, rows))
    return caught.value


def page(request: Request, types: str = names.TAGGED, **headers: str) -> bytes:
    """Return the head of a chunked page that is what was asked for."""
    kind = names.ARROW if types == names.ARROW_TYPES else NDJSON
    told = {**page_headers(request, length=LENGTH), names.TYPES_HEADER: types, **headers}
    return response(b"", content_type=kind, headers=told, length=None)


def forever(head: Callable[[Request], bytes], part: bytes) -> Send:
    """Return an answer that repeats a part until the client goes."""

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(head(request))
        while True:
            connection.sendall(part)

    return send


ENDLESS: dict[str, tuple[Send, type[FdssError]]] = {
    "a line": (forever(page, chunk(b"x" * 65536)), AnswerTooLarge),
    "empty lines": (forever(page, chunk(b"\n" * 65536)), PageForeign),
    "rows": (forever(page, chunk(row_lines(0, 1000))), PageForeign),
    "headers": (forever(lambda _: b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), ServerUnreachable),
    "one header": (forever(lambda _: b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536), ServerUnreachable),
    "a status line": (forever(lambda _: b"HTTP/1.1 200 ", b"O" * 65536), ServerUnreachable),
    "interim answers": (
        forever(lambda _: b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 1000),
        AnswerTooLarge,
    ),
    "other interim answers": (
        forever(lambda _: b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 1000),
        PageForeign,
    ),
    "chunk headers": (
        forever(page, b"1;" + b"x" * 60_000 + b"\r\n{\r\n"),
        AnswerTooLarge,
    ),
    "trailers": (
        forever(
            lambda r: page(r) + chunk(row_lines(0, 9)) + b"0\r\n", b"X: " + b"y" * 4000 + b"\r\n"
        ),
        AnswerTooLarge,
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_never_ends_is_cut_off(attack: Attack, case: str) -> None:
    """An answer without end is given up, whatever part of it has none; memory stays small."""
    send, kind = ENDLESS[case]
    backend = attack(send)
    len(backend)
    tracemalloc.start()
    try:
        error = failure(backend)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert type(error) is kind
    assert peak_bytes < 16 * MIB


DRIBBLES: dict[str, Callable[[Request], bytes]] = {
    "head": lambda _: b"HTTP/1.1 200 OK\r\nX: ",
    "line": lambda request: page(request),
    "arrow": lambda request: page(request, names.ARROW_TYPES) + b"fffff\r\n",
    "chunk header": lambda request: page(request) + b"1;",
    "length": lambda request: response(
        b"",
        content_type=names.ARROW,
        headers={**page_headers(request, length=LENGTH), names.TYPES_HEADER: "arrow"},
        length=1 << 20,
    ),
}


@pytest.mark.parametrize("case", DRIBBLES)
def test_a_byte_before_every_timeout_is_too_slow(attack: Attack, case: str) -> None:
    """A server that sends a byte now and then, and never a row, is given up after the timeout."""
    gone = threading.Event()

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(DRIBBLES[case](request))
        with contextlib.suppress(OSError):
            while not gone.wait(0.2):
                connection.sendall(b"\x01" if case != "line" else chunk(b"x"))

    # It ends by itself, though the server goes on for as long as anybody listens.
    error = failure(attack(send, timeout_s=1))
    gone.set()

    assert isinstance(error, ServerUnreachable | PageCut)


def test_slow_rows_are_no_attack(attack: Attack) -> None:
    """Rows that arrive one by one may take longer than the timeout in all."""

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(page(request))
        for number in range(LENGTH):
            connection.sendall(chunk(row_lines(number, number + 1)))
            if number % 10 == 0:
                threading.Event().wait(0.6)
        connection.sendall(b"0\r\n\r\n")

    assert len(list(rows_of(attack(send, timeout_s=5)))) == LENGTH


def arrow_page(body: bytes) -> Send:
    """Return an answer with an Arrow body."""

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(page(request, names.ARROW_TYPES) + chunk(body) + b"0\r\n\r\n")

    return send


def numbers(count: int = LENGTH) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array([7] * count, pa.int64())})


def patched(data: bytes, old: int, new: int) -> bytes:
    """Return a stream with one int64 in place of another, wherever it stands."""
    assert struct.pack("<q", old) in data
    return data.replace(struct.pack("<q", old), struct.pack("<q", new))


LISTS = {"feature": {"dtype": "null", "_type": "Value"}, "_type": "List"}
HOLLOW = pa.record_batch(
    {"n": pa.ListArray.from_arrays(pa.array([0, 1 << 30], pa.int32()), pa.nulls(1 << 30))}
)
BINARY = {"dtype": "binary", "_type": "Value"}
SHORT = pa.record_batch({"n": [b"x" * 800]})
LONG = pa.record_batch({"n": [b"x" * 9_999_999]})
BOMBS: dict[str, tuple[bytes, Any]] = {
    "a long body": (patched(stream_of(SHORT), 808, 1 << 50), BINARY),
    "long metadata": (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 100, BINARY),
    "lz4 that says 2**50": (patched(stream_of(SHORT, "lz4"), 800, 1 << 50), BINARY),
    "zstd that says 2**50": (patched(stream_of(SHORT, "zstd"), 800, 1 << 50), BINARY),
    "lz4 that expands": (stream_of(LONG, "lz4"), BINARY),
    "zstd that expands": (stream_of(LONG, "zstd"), BINARY),
    "a list of nothing": (stream_of(HOLLOW), LISTS),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_does_not_go_off(attack: Attack, case: str) -> None:
    """A few bytes that stand for gigabytes are refused before memory is taken for them."""
    body, feature = BOMBS[case]
    backend = attack(arrow_page(body), description(LENGTH, features={"n": feature}))
    len(backend)
    before_bytes = pa.total_allocated_bytes()
    error = failure(backend, rows=1)

    assert type(error) is AnswerTooLarge
    assert "FORGATHER_DATASET_CLIENT_MAX_" in error.hint
    assert pa.total_allocated_bytes() - before_bytes < 8 * MIB


def test_a_length_that_lies_is_foreign(attack: Attack) -> None:
    """A compressed buffer that holds more than it says is refused by the codec itself."""
    body = patched(stream_of(numbers(), "zstd"), 800, 80)

    assert type(failure(attack(arrow_page(body)))) is PageForeign


def test_rows_beyond_those_asked_for(attack: Attack) -> None:
    """A record batch of more rows than were asked for is refused before it is decoded."""
    nothing = patched(stream_of(pa.record_batch({"n": pa.nulls(LENGTH)})), LENGTH, 1 << 40)
    told = description(LENGTH, features={"n": {"dtype": "null", "_type": "Value"}})
    error = failure(attack(arrow_page(nothing), told))

    assert type(error) is PageForeign
    assert "1,099,511,627,776 rows" in error.message


def test_rows_that_are_large_together_are_asked_for_in_smaller_pages(attack: Attack) -> None:
    """Honest rows that no batch may hold together arrive all the same, fewer at a time."""
    texts = [f"{number:02}" * 50_000 for number in range(LENGTH)]
    asked: list[int] = []

    def send(request: Request, connection: socket.socket) -> None:
        begin, count = int(request.query["position"]), int(request.query["limit"])
        asked.append(count)
        arrow_page(stream_of(pa.record_batch({"n": texts[begin : begin + count]})))(
            request, connection
        )

    told = description(LENGTH, features={"n": {"dtype": "string", "_type": "Value"}})
    assert [row["n"] for row in rows_of(attack(send, told))] == texts
    assert asked[:2] == [100, 6]


def test_a_long_row_needs_one_setting(attack: Attack) -> None:
    """A row beyond the limit of rows and of batches is read once the row's limit is raised."""
    row = pa.record_batch({"n": [b"x" * (3 * MIB)]})
    told = description(LENGTH, features={"n": {"dtype": "binary", "_type": "Value"}})
    send = arrow_page(stream_of(row))
    error = failure(attack(send, told), rows=1)
    raised = replace(TIGHT, row_bytes=4 * MIB)

    assert "FORGATHER_DATASET_CLIENT_MAX_ROW_BYTES" in error.hint
    assert len(next(rows_of(attack(send, told, limits=raised), 1))["n"]) == 3 * MIB


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
@pytest.mark.parametrize("of", ["page", "description"])
def test_packed_bodies_are_not_unpacked(attack: Attack, encoding: str, of: str) -> None:
    """A body in an encoding that was not asked for is refused, whatever it holds."""
    packed = zlib.compress(row_lines(0, LENGTH))
    headers = {"Content-Encoding": encoding}

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(page(request, **headers) + chunk(packed) + b"0\r\n\r\n")

    def describe(request: Request, connection: socket.socket) -> None:
        connection.sendall(response(zlib.compress(description(LENGTH)), headers=headers))

    backend = attack(send)
    if of == "page":
        assert type(failure(backend)) is PageForeign
    else:
        with raw_session(describe) as session, pytest.raises(PageForeign):
            session.get_json("/v1/health")


@contextlib.contextmanager
def raw_session(answer: Send) -> Iterator[ServerSession]:
    from raw_server import raw_servers

    with raw_servers() as start:
        session = ServerSession(start(answer).url, timeout_s=60)
        yield session
        session.close()


ANSWERS: dict[str, tuple[bytes, type[FdssError]]] = {
    "deep lists": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", AnswerTooLarge),
    "deep objects": (b'{"a":' * 400 + b"1" + b"}" * 400, AnswerTooLarge),
    "long": (b'{"a":"' + b"x" * (33 * MIB) + b'"}', AnswerTooLarge),
    "a long number": (b'{"a":' + b"9" * 5000 + b"}", PageForeign),
    "no text": (b'{"a":"\xff"}', PageForeign),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_json_answers_are_bounded(case: str) -> None:
    """A JSON answer that is too long or too deep is refused, and the next one is read."""
    body, kind = ANSWERS[case]
    answers = iter([body, b'{"status":"ok"}'])

    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(response(next(answers)))

    with raw_session(answer) as session:
        with pytest.raises(kind):
            session.get_json("/v1/health")
        assert session.get_json("/v1/health") == {"status": "ok"}


@pytest.mark.parametrize("place", [b"http://[", b"\xff", b"/elsewhere"])
def test_redirect_is_an_error_whose_body_is_not_read_to_its_end(place: bytes) -> None:
    """Wherever it leads, a redirect without end is as short as any other answer."""

    def answer(request: Request, connection: socket.socket) -> None:
        head = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n"
        connection.sendall(head + b"Content-Length: 999999999999\r\n\r\n" + b"x" * MIB)

    with raw_session(answer) as session, pytest.raises(FdssError, match="302"):
        session.get_json("/v1/health")


@pytest.mark.parametrize(
    "body",
    [b"[" * 70_000, b'{"error":' + b"[" * 30_000, b"x" * MIB, b'{"error":"a","code":[]}'],
)
def test_errors_of_a_hostile_server_are_errors(body: bytes) -> None:
    """The body of an error that is no error's says no less than the status."""

    def answer(request: Request, connection: socket.socket) -> None:
        headers = {"Retry-After": "9" * 5000}
        connection.sendall(response(body, status="503 Later", headers=headers))

    with raw_session(answer) as session, pytest.raises(FdssError) as caught:
        session.get_json("/v1/health")
    assert caught.value.code == "unavailable"


def deep(levels: int) -> Any:
    feature: Any = INTEGER
    for _ in range(levels):
        feature = {"feature": feature, "_type": "List"}
    return feature


DESCRIPTIONS: dict[str, tuple[dict[str, Any], type[FdssError]]] = {
    "more rows than fit": ({"length": 1 << 70}, AnswerTooLarge),
    "more rows than allowed": ({"length": (1 << 40) + 1}, AnswerTooLarge),
    "a length that is no number": ({"length": True}, PageForeign),
    "many columns": (
        {"column_names": [f"c{n}" for n in range(65_537)], "features": {}},
        AnswerTooLarge,
    ),
    "columns that are no names": ({"column_names": [["n"]], "features": {}}, PageForeign),
    "a column twice": ({"column_names": ["n", "n"], "features": {}}, PageForeign),
    "features of others": ({"column_names": ["m"]}, PageForeign),
    "a feature that is none": ({"features": {"n": 7}}, PageForeign),
    "a list of nothing": ({"features": {"n": {"_type": "List"}}}, PageForeign),
    "a length of a list": (
        {"features": {"n": {"_type": "List", "feature": INTEGER, "length": "x"}}},
        PageForeign,
    ),
    "a value without a type": ({"features": {"n": {"_type": "Value"}}}, PageForeign),
    "deep features": ({"features": {"n": deep(49)}}, PageForeign),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_are_checked(attack: Attack, case: str) -> None:
    """What a server tells of a dataset is refused where it is impossible or beyond a limit."""
    changes, kind = DESCRIPTIONS[case]
    told = json.dumps({**json.loads(description(LENGTH)), **changes}).encode()
    backend = attack(lambda *_: None, told)

    with pytest.raises(kind):
        len(backend)


@pytest.mark.parametrize(
    ("columns", "feature"),
    [
        ({"n": ["a"] * LENGTH}, INTEGER),
        ({"n": [[1]] * LENGTH}, INTEGER),
        ({"n": [1] * LENGTH}, deep(1)),
        ({f"c{n}": [1] * LENGTH for n in range(2000)}, INTEGER),
    ],
    ids=["text", "lists", "numbers", "columns"],
)
def test_batches_of_other_types_are_foreign(
    attack: Attack, columns: dict[str, Any], feature: Any
) -> None:
    """A record batch whose columns are not those of the features is refused."""
    told = description(LENGTH, features={"n": feature})
    error = failure(attack(arrow_page(stream_of(pa.record_batch(columns))), told))

    assert type(error) is PageForeign
    assert len(error.message) < 2000


@pytest.mark.parametrize("line", [b"{}", b'{"m":1}', b'{"n":1,"m":2}'])
def test_lines_of_other_columns_are_foreign(attack: Attack, line: bytes) -> None:
    """A line whose keys are not the columns is refused behind the rows before it."""

    def send(request: Request, connection: socket.socket) -> None:
        body = row_lines(0, 7) + line + b"\n" + row_lines(8, LENGTH)
        connection.sendall(page(request) + chunk(body) + b"0\r\n\r\n")

    rows = rows_of(attack(send))
    assert len(list(itertools.islice(rows, 7))) == 7
    with pytest.raises(PageForeign, match="Row 7"):
        next(rows)


@pytest.mark.parametrize("length", [LENGTH - 1, LENGTH + 1])
def test_a_length_that_changes_in_the_middle_is_foreign(attack: Attack, length: int) -> None:
    """A dataset that grows or shrinks while it is read is not the one that was loaded."""

    def send(request: Request, connection: socket.socket) -> None:
        head = page(request, **{"FDSS-Length": str(length)})
        connection.sendall(head + chunk(row_lines(0, LENGTH)) + b"0\r\n\r\n")

    assert type(failure(attack(send))) is PageForeign


IMAGE = {"_type": "Image"}
FILES = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def image_of(width: int) -> bytes:
    """Return the beginning of a PNG that says how large it is."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 64)
    data = b"IDAT" + packed
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (head, data, b"IEND")
    )


def image_page(value: Any, type_: pa.DataType = FILES) -> Send:
    column = pa.array([value] * LENGTH, type_)
    return arrow_page(stream_of(pa.record_batch({"n": column})))


@pytest.mark.parametrize("path", ["/etc/hostname", "http://127.0.0.1:9/x", "zip://x::http://h/y"])
@pytest.mark.parametrize("kind", ["Image", "Audio", "Video"])
def test_no_file_that_a_row_names_is_opened(attack: Attack, path: str, kind: str) -> None:
    """A media value that names a file or an address in place of its bytes is refused."""
    told = description(LENGTH, features={"n": {"_type": kind}})

    value = {"bytes": None, "path": path}
    assert type(failure(attack(image_page(value), told))) is PageForeign
    assert type(failure(attack(image_page(path, pa.string()), told))) is PageForeign
    nested = description(
        LENGTH, features={"n": {"feature": {"a": {"_type": kind}}, "_type": "List"}}
    )
    lists = image_page([{"a": value}], pa.list_(pa.struct({"a": FILES})))
    assert type(failure(attack(lists, nested))) is PageForeign


def test_lines_cannot_name_files_either(attack: Attack) -> None:
    """The same holds for rows that come as JSON."""
    line = b'{"n":{"bytes":null,"path":"/etc/hostname"}}\n'

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(page(request) + chunk(line * LENGTH) + b"0\r\n\r\n")

    told = description(LENGTH, features={"n": IMAGE})
    assert type(failure(attack(send, told))) is PageForeign


def test_images_of_too_many_pixels(attack: Attack) -> None:
    """An image beyond Pillow's own bound, or beyond the setting, is a typed error."""
    told = description(LENGTH, features={"n": IMAGE})
    bomb = failure(attack(image_page({"bytes": image_of(50_000), "path": None}), told))
    limits = replace(TIGHT, image_pixels=99)
    over = failure(attack(image_page({"bytes": image_of(10), "path": None}), told, limits=limits))

    assert bomb.code == "dataset-damaged"
    assert type(over) is AnswerTooLarge
    assert "100 pixels" in over.message


@pytest.mark.parametrize("content", [b"", b"no image", image_of(10)[:40], b"GIF89a" + b"\xff" * 40])
def test_images_that_are_none(attack: Attack, content: bytes) -> None:
    """Bytes that no decoder knows are a typed error."""
    told = description(LENGTH, features={"n": IMAGE})
    error = failure(attack(image_page({"bytes": content, "path": None}), told))

    assert error.code == "dataset-damaged"


def test_noise_behind_an_answer_is_not_the_next_one(start_server: StartServer) -> None:
    """Bytes that come with the end of a page are no part of the next one."""
    noise = response(b'{"length":7}') * 3
    backend = RemoteBackend(
        start_server(answer_pages(1000, behind=noise)).url, "abcd", timeout_s=60
    )
    rows = backend.chunks(Selection(range(1000), range(1000)))

    assert [row["n"] for part in rows for row in part.rows()] == list(range(1000))


def test_noise_before_an_answer_is_no_page(start_server: StartServer) -> None:
    """An answer that nobody asked for, come before the one to a question, gives no rows."""
    honest = answer_pages(LENGTH)

    def answer(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("/iter"):
            connection.sendall(response(b'{"length":7}'))
        honest(request, connection)

    backend = RemoteBackend(start_server(answer).url, "abcd", timeout_s=60)

    assert type(failure(backend)) is PageForeign


def test_a_backend_survives_an_attack(start_server: StartServer) -> None:
    """After a page that was refused the same backend reads the next one whole."""
    honest = answer_pages(LENGTH)
    attacks = iter([True, False])

    def answer(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("/iter") and next(attacks):
            connection.sendall(page(request) + chunk(b"x" * (2 * MIB)))
            return
        honest(request, connection)

    server: RawServer = start_server(answer)
    backend = RemoteBackend(server.url, "abcd", timeout_s=60, transfer=Transfer(limits=TIGHT))

    assert type(failure(backend)) is AnswerTooLarge
    assert len(list(rows_of(backend))) == LENGTH


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit has a variable of its own, and the defaults hold without any."""
    for number, limit in enumerate(fields(ClientLimits)):
        monkeypatch.setenv(limit.metadata["variable"], str(number + 1))
    read = ClientLimits.from_environment()

    assert [getattr(read, limit.name) for limit in fields(read)] == list(range(1, 11))


@pytest.mark.parametrize("given", ["-1", "0", "1e9", "512M", "9" * 30, "²"])
def test_limits_are_whole_numbers(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """A variable that is no whole number is refused when a backend is made."""
    monkeypatch.setenv("FORGATHER_DATASET_CLIENT_MAX_ROW_BYTES", given)

    with pytest.raises(SettingError, match="MAX_ROW_BYTES"):
        RemoteBackend("http://127.0.0.1:9", "abcd")
