"""NDJSON written a batch at a time is what NDJSON written a row at a time would be."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from fdss.errors import UncarriableValue
from fdss.wire import columns
from fdss.wire.names import PLAIN, TAGGED
from fdss.wire.ndjson import encode_batch
from fdss.wire.plain import Plain
from fdss.wire.tagged import Tagged

DIALECTS = {PLAIN: Plain(), TAGGED: Tagged()}
LINE_ENDS = ("\u0085", "\u2028", "\u2029")

CHARACTERS = st.one_of(
    st.characters(codec="utf-8"),
    st.sampled_from('"\\\n\r\t\x00\x1f\x7f,:{}[]éß€\U0001f600\u2028\u0085'),
)
TEXT = st.text(CHARACTERS, max_size=12)
FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1e16, 1e-5, 1e-7, 5e-324, 1e22]))
DAYS = st.integers(-700_000, 2_900_000)

LEAVES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.string_view(): TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): FLOATS,
    pa.decimal128(9, 2): st.decimals(-1_000_000, 1_000_000, places=2),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.time64("us"): st.times(),
    pa.duration("ms"): st.integers(-(2**40), 2**40),
    pa.dictionary(pa.int32(), pa.string()): TEXT,
}


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Return a batch of a few columns of random types, some of it cut off at either end."""
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    arrays = [draw(arrays_of(rows + 2)) for _ in names]
    return pa.record_batch(arrays, names=names).slice(draw(st.integers(0, 2)), rows)


@st.composite
def arrays_of(draw: st.DrawFn, rows: int) -> pa.Array:
    """Return a column of one type, flat or nested, with or without nulls."""
    type_ = draw(st.sampled_from(list(LEAVES)))
    values = LEAVES[type_]
    shape = draw(st.sampled_from(["flat", "flat", "list", "struct"]))
    if shape == "list":
        type_, values = pa.list_(type_), st.lists(st.none() | values, max_size=4)
    elif shape == "struct":
        type_, values = pa.struct([("a", type_)]), st.fixed_dictionaries({"a": values})
    if draw(st.booleans()):
        values = st.none() | values
    return pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), type_)


def by_row(batch: pa.RecordBatch, dialect: str) -> bytes:
    """Return the lines of a batch, each the JSON of one dict."""
    lists = [
        columns.converter(field.type, DIALECTS[dialect], field.name)(array)
        for field, array in zip(batch.schema, batch.columns, strict=True)
    ]
    option = orjson.OPT_SERIALIZE_NUMPY
    rows = columns.zipped(batch.schema.names, lists, batch.num_rows)
    lines = "".join(orjson.dumps(row, option=option).decode() + "\n" for row in rows)
    for end in LINE_ENDS if dialect == PLAIN else ():
        lines = lines.replace(end, f"\\u{ord(end):04x}")
    return lines.encode()


@settings(max_examples=300, deadline=None)
@given(batch=batches(), dialect=st.sampled_from([PLAIN, TAGGED]))
def test_a_batch_is_written_as_its_rows_are(batch: pa.RecordBatch, dialect: str) -> None:
    """Whatever the types and values, a batch at a time gives the bytes of a row at a time."""
    assert encode_batch(batch, dialect) == by_row(batch, dialect)


@pytest.mark.parametrize("dialect", [PLAIN, TAGGED])
@pytest.mark.parametrize("rows", [1, 3000])
def test_long_batches_are_written_as_their_rows_are(rows: int, dialect: str) -> None:
    """Text that fills several of the parts it is looked through in is written alike."""
    texts = [
        ("grüße " * 9 + '"\n\\' * (at % 3 == 0) + "\u2028" * (at > 2900)) for at in range(rows)
    ]
    batch = pa.record_batch({"t": texts, "n": pa.array(range(rows), pa.int32())})

    assert encode_batch(batch, dialect) == by_row(batch, dialect)


BROKEN = st.sampled_from(
    [b"\x80", b"\xc3", b"\xc0\x80", b"\xc1", b"\xed\xa0\x80", b"\xf5", b"\xff"]
)
PIECES = st.lists(
    BROKEN | TEXT.map(str.encode) | st.sampled_from([b"\xc3\xa9", b"\xa9"]), max_size=4
)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(PIECES.map(b"".join), min_size=1, max_size=5), large=st.booleans())
def test_text_is_written_only_if_every_row_is_utf8(texts: list[bytes], large: bool) -> None:
    """Bytes that are no UTF-8 of their own are refused, also where their neighbours mend them."""
    type_ = pa.large_string() if large else pa.string()
    stored = pa.array(texts, pa.large_binary() if large else pa.binary()).view(type_)
    batch = pa.record_batch({"t": stored})
    try:
        expected = [text.decode() for text in texts]
    except UnicodeDecodeError:
        with pytest.raises(UncarriableValue, match="'t'"):
            encode_batch(batch, TAGGED)
    else:
        lines = encode_batch(batch, TAGGED).split(b"\n")[:-1]
        assert [orjson.loads(line)["t"] for line in lines] == expected


def test_what_lies_under_a_null_is_not_written() -> None:
    """Bytes that a null leaves in its column are neither checked nor written."""
    held = pa.array([b"a", b'\xff"\n', b"b"], pa.binary())
    _, places, data = held.buffers()
    known = pa.array([True, False, True]).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 3, [known, places, data])

    lines = encode_batch(pa.record_batch({"t": texts}), TAGGED)

    assert lines == b'{"t":"a"}\n{"t":null}\n{"t":"b"}\n'


def test_of_two_columns_of_one_name_the_last_is_written() -> None:
    """A row has one value a name, as a dict does."""
    batch = pa.record_batch([pa.array([1]), pa.array(["x"]), pa.array([2])], names=["a", "b", "a"])

    assert encode_batch(batch, TAGGED) == b'{"a":2,"b":"x"}\n'
