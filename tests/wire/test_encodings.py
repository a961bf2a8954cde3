"""A body leaves early, in chunks of a bounded size, whatever the batches behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from fdss.backend import Selection
from fdss.errors import BadParameter, UncarriableValue
from fdss.wire import names
from fdss.wire.body import Body
from fdss.wire.encodings import choose_encoding
from fdss.wire.lines import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, NdjsonEncoding
from fdss.wire.ndjson import encode_batch


class Batches:
    """A source of the batches it is given; counts those it was asked for."""

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self._batches = batches
        self.asked = 0

    @property
    def schema(self) -> pa.Schema:
        """Return the schema of the first batch."""
        return self._batches[0].schema

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield every batch, projected."""
        for batch in self._batches:
            self.asked += 1
            yield batch.select(list(selection.columns or batch.schema.names))

    def costs_nothing(self, selection: Selection) -> bool:
        """Say that batches are made when they are asked for."""
        return False

    def pieces(self, selection: Selection) -> Iterator[pa.Buffer | pa.RecordBatch]:
        """Yield the same."""
        return self.batches(selection)


def selection(source: Batches, columns: tuple[str, ...] | None = None) -> Selection:
    count = sum(batch.num_rows for batch in source._batches)
    return Selection(rows=range(count), positions=range(count), columns=columns)


def sent(body: Body) -> Iterator[bytes]:
    """Return the chunks that a body sends."""
    return map(bytes, body.read())


def chunks(source: Batches) -> list[bytes]:
    return list(sent(NdjsonEncoding(names.PLAIN).encode(source, selection(source))))


def texts(*lengths: int) -> pa.RecordBatch:
    return pa.record_batch({"text": ["x" * length for length in lengths]})


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([texts(*[10] * 100_000)], id="one large batch of short rows"),
        pytest.param([texts(*[2000] * 16)] * 400, id="many small batches"),
        pytest.param([texts(*[10] * 5000, *[300_000] * 20)], id="long rows after short ones"),
        pytest.param([texts(5_000_000), texts(10), texts(2_500_000)], id="rows beyond a chunk"),
        pytest.param(
            [pa.record_batch({"v": pa.array(["x" * 900] * 20_000).dictionary_encode()})],
            id="small batch of long lines",
        ),
        pytest.param(
            [pa.record_batch({"v": pa.array(["x" * 900] * 5000, pa.string_view())})], id="views"
        ),
    ],
)
def test_chunks_have_a_bounded_size(batches: list[pa.RecordBatch]) -> None:
    """All chunks but the last have 64 KiB to 1 MiB, and together they are the lines."""
    body = chunks(Batches(*batches))

    assert b"".join(body) == b"".join(encode_batch(batch, names.PLAIN) for batch in batches)
    assert max(map(len, body)) <= MAX_CHUNK_BYTES
    joined_ends = [len(chunk) for chunk in body[:-1] if len(chunk) < MIN_CHUNK_BYTES]
    cut_rows = sum(
        batch.get_total_buffer_size() > MAX_CHUNK_BYTES and batch.num_rows == 1 for batch in batches
    )
    assert len(joined_ends) <= cut_rows


def test_the_first_chunk_leaves_before_the_second_batch_is_read() -> None:
    """The first bytes wait for no more batches than they hold."""
    source = Batches(texts(*[2000] * 100), texts(*[2000] * 100))

    first = next(sent(NdjsonEncoding(names.PLAIN).encode(source, selection(source))))

    assert first.startswith(b'{"text":"x')
    assert source.asked == 1


def test_nothing_selected_is_an_empty_body() -> None:
    """No rows are no bytes."""
    source = Batches(texts())

    assert chunks(source) == []


def test_columns_of_the_selection_are_encoded_in_its_order() -> None:
    """A projection writes its columns, in its order."""
    source = Batches(pa.record_batch({"a": [1], "b": [2], "c": [3]}))

    body = NdjsonEncoding(names.TAGGED).encode(source, selection(source, ("c", "a")))

    assert b"".join(sent(body)) == b'{"c":3,"a":1}\n'


def test_a_type_without_a_form_is_refused_before_the_first_byte() -> None:
    """The call itself refuses a column that cannot be carried, unless it is left out."""
    odd = pa.array([None], pa.month_day_nano_interval())
    source = Batches(pa.record_batch({"fine": [1], "odd": odd}))
    encoding = NdjsonEncoding(names.TAGGED)

    with pytest.raises(UncarriableValue, match="'odd'"):
        encoding.encode(source, selection(source))

    assert source.asked == 0
    assert b"".join(sent(encoding.encode(source, selection(source, ("fine",))))) == b'{"fine":1}\n'


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "application/x-ndjson", "application/json", "text/html, */*;q=0.1", "junk;;"],
)
@pytest.mark.parametrize("types", [None, names.PLAIN, names.TAGGED])
def test_ndjson_is_what_everybody_gets(accept: str | None, types: str | None) -> None:
    """Whatever is accepted, NDJSON is served, plain unless asked otherwise."""
    encoding = choose_encoding(accept, {} if types is None else {"types": types})

    assert encoding.media_type == "application/x-ndjson"
    assert encoding.headers == {"FDSS-Types": types or "plain"}


@pytest.mark.parametrize("types", ["", "Tagged", "arrow", "plain,tagged"])
def test_types_nobody_has_are_refused(types: str) -> None:
    """Another value of ``types`` is an error that names the parameter."""
    with pytest.raises(BadParameter, match="'types'"):
        choose_encoding(None, {"types": types})
