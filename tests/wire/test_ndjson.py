"""NDJSON carries every feature: strict JSON, pinned bytes, and the same rows at the other end."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from samples import SAMPLES, Sample, same
from strict_json import strict_rows

from fdss.errors import PageCut, PageForeign, UncarriableValue
from fdss.rows import RowMaker, features_of
from fdss.wire.names import PLAIN, TAGGED
from fdss.wire.ndjson import BatchEncoder, RowsChunk, decode_lines, encode_batch

each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
each_dialect = pytest.mark.parametrize("dialect", [PLAIN, TAGGED])


def lines_of(batch: pa.RecordBatch, dialect: str = TAGGED) -> list[bytes]:
    return encode_batch(batch, dialect).split(b"\n")[:-1]


def line_of(value: Any, type_: pa.DataType, dialect: str) -> str:
    (line,) = lines_of(pa.record_batch({"v": pa.array([value], type_)}), dialect)
    return line.decode()


@each_sample
def test_tagged_rows_arrive_as_datasets_gives_them(sample: Sample) -> None:
    """Every feature gives the same rows after tagged NDJSON as in ``datasets``."""
    batch = sample.stored()

    chunk = RowsChunk(decode_lines(lines_of(batch)), RowMaker(features_of(batch.schema)))

    assert len(chunk) == batch.num_rows
    assert same(chunk.rows(), list(sample.dataset()))


@each_dialect
@each_sample
def test_every_line_is_strict_json(sample: Sample, dialect: str) -> None:
    """One strict JSON object a line, and a line feed nowhere but at its end."""
    batch = sample.stored()

    rows = strict_rows(encode_batch(batch, dialect))

    assert [list(row) for row in rows] == [batch.schema.names] * batch.num_rows


@each_dialect
@each_sample
def test_a_row_is_written_alike_in_every_batch(sample: Sample, dialect: str) -> None:
    """The bytes of a row depend neither on its batch nor on where the batch begins."""
    batch = sample.stored()

    alone = [encode_batch(batch.slice(row, 1), dialect) for row in range(batch.num_rows)]

    assert b"".join(alone) == encode_batch(batch, dialect)
    assert b"".join(alone[1:]) == encode_batch(batch.slice(1), dialect)


@each_sample
def test_plain_rows_can_be_split_as_text(sample: Sample) -> None:
    """A reader that splits text at every line end of Unicode finds a line a row."""
    batch = sample.stored()

    text = encode_batch(batch, PLAIN).decode()

    assert len(text.splitlines()) == batch.num_rows


@pytest.mark.parametrize("end", ["\u0085", "\u2028", "\u2029", "\u2027", "\u0084", "é", "\u20a8"])
def test_plain_text_is_the_same_with_and_without_line_ends_of_unicode(end: str) -> None:
    """Escaping a line end of Unicode, and nothing near it, leaves the text what it was."""
    text = f"{end}x{end}"
    data = encode_batch(pa.record_batch({end: [text]}), PLAIN)

    assert strict_rows(data) == [{end: text}]
    assert (end.encode() in data) == (len(f"a{end}b".splitlines()) == 1)


PLAIN_PINS: list[tuple[Any, pa.DataType, str]] = [
    (None, pa.int32(), "null"),
    (True, pa.bool_(), "true"),
    (2**64 - 1, pa.uint64(), "18446744073709551615"),
    (1.0, pa.float64(), "1.0"),
    (0.1, pa.float32(), "0.10000000149011612"),
    (float("nan"), pa.float64(), "null"),
    (float("inf"), pa.float32(), "null"),
    ("grüße", pa.string(), '"grüße"'),
    ("a\u2028b", pa.string(), '"a\\u2028b"'),
    (b"\x00\xff", pa.binary(), '{"__bytes_b64__":"AP8="}'),
    (b"abc", pa.binary(3), '{"__bytes_b64__":"YWJj"}'),
    (dt.date(2024, 2, 29), pa.date32(), '"2024-02-29"'),
    (dt.date(2024, 2, 29), pa.date64(), '"2024-02-29"'),
    (dt.time(1, 2, 3), pa.time32("s"), '"01:02:03"'),
    (dt.time(1, 2, 3, 4), pa.time64("us"), '"01:02:03.000004"'),
    (3_723_000_004_005, pa.time64("ns"), '"01:02:03.000004005"'),
    (dt.datetime(2024, 2, 29, 1, 2, 3), pa.timestamp("s"), '"2024-02-29T01:02:03"'),
    (dt.datetime(2024, 2, 29, 1, 2, 3, 4), pa.timestamp("us"), '"2024-02-29T01:02:03.000004"'),
    (1_700_000_000_123_456_789, pa.timestamp("ns"), '"2023-11-14T22:13:20.123456789"'),
    (1_700_000_000_000_000_000, pa.timestamp("ns"), '"2023-11-14T22:13:20"'),
    (
        1_700_000_000_123_456_789,
        pa.timestamp("ns", "+05:30"),
        '"2023-11-15T03:43:20.123456789+05:30"',
    ),
    (1_700_000_000, pa.timestamp("s", "UTC"), '"2023-11-14T22:13:20+00:00"'),
    (1_700_000_000, pa.timestamp("s", "Europe/Paris"), '"2023-11-14T23:13:20+01:00"'),
    (dt.timedelta(days=1, milliseconds=1500), pa.duration("ms"), "86401.5"),
    (1, pa.duration("ns"), "1e-9"),
    (Decimal("1.10"), pa.decimal128(5, 2), '"1.10"'),
    ([1, None], pa.list_(pa.int8()), "[1,null]"),
    ([], pa.list_(pa.int8()), "[]"),
    ({"a": b"x"}, pa.struct({"a": pa.binary()}), '{"a":{"__bytes_b64__":"eA=="}}'),
    ({"__date__": 1}, pa.struct({"__date__": pa.int8()}), '{"__date__":1}'),
    ([("a", 1)], pa.map_(pa.string(), pa.int8()), '[["a",1]]'),
]

# These stand for ever: fingerprints in saved states are hashes over them.
TAGGED_PINS: list[tuple[Any, pa.DataType, str]] = [
    (None, pa.timestamp("s"), "null"),
    (False, pa.bool_(), "false"),
    (-(2**63), pa.int64(), "-9223372036854775808"),
    (2**64 - 1, pa.uint64(), "18446744073709551615"),
    (1.0, pa.float64(), "1.0"),
    (-0.0, pa.float64(), "-0.0"),
    (0.1, pa.float32(), "0.10000000149011612"),
    (0.1, pa.float16(), "0.0999755859375"),
    (1e15, pa.float64(), "1000000000000000.0"),
    (1e16, pa.float64(), "1e+16"),
    (1e22, pa.float64(), "1e+22"),
    (9999999999999998.0, pa.float64(), "9999999999999998.0"),
    (1e-5, pa.float64(), "0.00001"),
    (9.999999999999999e-6, pa.float64(), "9.999999999999999e-06"),
    (1e-5, pa.float32(), "9.999999747378752e-06"),
    (1e-7, pa.float64(), "1e-07"),
    ([0.25] * 17 + [1e-7, 1e300], pa.list_(pa.float64()), f"[{'0.25,' * 17}1e-07,1e+300]"),
    (5e-324, pa.float64(), "5e-324"),
    (1.7976931348623157e308, pa.float64(), "1.7976931348623157e+308"),
    (float("nan"), pa.float64(), '{"__float__":"nan"}'),
    (float("inf"), pa.float32(), '{"__float__":"inf"}'),
    (float("-inf"), pa.float16(), '{"__float__":"-inf"}'),
    ("grüße \u2028 \x7f", pa.string(), '"grüße \u2028 \x7f"'),
    ('" \\ / \b\f\n\r\t \x00\x1f', pa.string(), '"\\" \\\\ / \\b\\f\\n\\r\\t \\u0000\\u001f"'),
    (b"\x00\xff", pa.binary_view(), '{"__bytes_b64__":"AP8="}'),
    (dt.date(2024, 2, 29), pa.date32(), '{"__date__":19782}'),
    (dt.date(1969, 12, 31), pa.date64(), '{"__date__":-1}'),
    (dt.time(1, 2, 3), pa.time32("s"), '{"__time__":[3723,"s"]}'),
    (1, pa.time64("ns"), '{"__time__":[1,"ns"]}'),
    (-1, pa.timestamp("us"), '{"__timestamp__":[-1,"us",null]}'),
    (1, pa.timestamp("ns", "Europe/Paris"), '{"__timestamp__":[1,"ns","Europe/Paris"]}'),
    (dt.timedelta(days=-1), pa.duration("s"), '{"__duration__":[-86400,"s"]}'),
    (Decimal("1.10"), pa.decimal128(5, 2), '{"__decimal__":"1.10"}'),
    (Decimal("1E+3"), pa.decimal256(5, -3), '{"__decimal__":"1E+3"}'),
    ([1.5, None], pa.list_(pa.float32()), "[1.5,null]"),
    ([0.1] * 17, pa.list_(pa.float32()), f"[{','.join(['0.10000000149011612'] * 17)}]"),
    ([7] * 17, pa.list_(pa.uint8(), 17), f"[{','.join(['7'] * 17)}]"),
    ({"a": 1, "b": None}, pa.struct({"a": pa.int8(), "b": pa.null()}), '{"a":1,"b":null}'),
    ({}, pa.struct({}), "{}"),
    ([("a", 1)], pa.map_(pa.string(), pa.int8()), '{"__map__":[["a",1]]}'),
    ({"__date__": 1}, pa.struct({"__date__": pa.int8()}), '{"__escaped__":{"__date__":1}}'),
    (
        {"__escaped__": None},
        pa.struct({"__escaped__": pa.int8()}),
        '{"__escaped__":{"__escaped__":null}}',
    ),
    ({"__other__": 1}, pa.struct({"__other__": pa.int8()}), '{"__other__":1}'),
]


@pytest.mark.parametrize(("value", "type_", "json"), PLAIN_PINS)
def test_plain_values_are_written_as_the_reference_writes_them(
    value: Any, type_: pa.DataType, json: str
) -> None:
    """The plain form of a value of each type is pinned."""
    assert line_of(value, type_, PLAIN) == f'{{"v":{json}}}'


@pytest.mark.parametrize(("value", "type_", "json"), TAGGED_PINS)
def test_tagged_values_are_written_as_ever(value: Any, type_: pa.DataType, json: str) -> None:
    """The tagged form of a value of each type is pinned, to the byte."""
    assert line_of(value, type_, TAGGED) == f'{{"v":{json}}}'


@pytest.mark.parametrize(("value", "type_", "json"), TAGGED_PINS)
def test_pinned_tagged_values_are_read_as_ever(value: Any, type_: pa.DataType, json: str) -> None:
    """The pinned forms are read as the Python values Arrow gives."""
    expected = pa.array([value], type_).to_pylist()

    assert same([decode_lines([f'{{"v":{json}}}'.encode()])[0]["v"]], expected)


def test_a_plain_client_reads_bytes_and_leaves_the_rest_as_json() -> None:
    """In the plain dialect only bytes come back as what they were."""
    row = {"b": b"x", "t": dt.datetime(2024, 1, 1), "l": [{"b": b"y", "n": 1}]}
    (line,) = lines_of(pa.RecordBatch.from_pylist([row]), PLAIN)

    expected = {"b": b"x", "t": "2024-01-01T00:00:00", "l": [{"b": b"y", "n": 1}]}
    assert decode_lines([line], PLAIN) == [expected]


def test_a_row_of_no_columns_is_an_empty_object() -> None:
    """Rows without columns are empty objects, as many as there are rows."""
    batch = pa.record_batch({"n": [1, 2]}).select([])

    assert encode_batch(batch, TAGGED) == b"{}\n" * batch.num_rows


@each_dialect
@pytest.mark.parametrize(
    "type_",
    [
        pytest.param(pa.dense_union([pa.field("a", pa.int8())]), id="union"),
        pytest.param(pa.month_day_nano_interval(), id="interval"),
        pytest.param(pa.list_(pa.month_day_nano_interval()), id="list of interval"),
        pytest.param(pa.struct([("a", pa.int8()), ("a", pa.int8())]), id="two fields of one name"),
    ],
)
def test_a_type_without_a_form_names_its_column(type_: pa.DataType, dialect: str) -> None:
    """A type that cannot be carried is refused by column, before there is any row."""
    schema = pa.schema([("fine", pa.int8()), ("odd one", type_)])

    with pytest.raises(UncarriableValue, match="'odd one'"):
        BatchEncoder(schema, dialect)


def test_text_that_is_not_utf8_names_its_column() -> None:
    """Broken text is an error that names its column, never a replacement character."""
    broken = pa.array([b"\xff"], pa.binary()).view(pa.string())

    with pytest.raises(UncarriableValue, match="'broken'"):
        encode_batch(pa.record_batch({"fine": ["a"], "broken": broken}), TAGGED)


def test_a_value_nested_deeper_than_json_goes_names_its_column() -> None:
    """A nesting that the encoder cannot follow is an error that names its column."""
    deep = pa.array([1], pa.int8())
    for _ in range(260):
        deep = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), deep)

    with pytest.raises(UncarriableValue, match="'deep'"):
        encode_batch(pa.record_batch({"fine": [1], "deep": deep}), TAGGED)


@pytest.mark.parametrize("line", [b'{"a":1', b'{"a":"', b'{"a":NaN}', b'{"a":"\xff"}'])
def test_a_line_that_is_not_whole_is_a_cut(line: bytes) -> None:
    """A line that is not JSON counts as a cut page."""
    with pytest.raises(PageCut):
        decode_lines([line])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1",
        b'{"a":1},{"a":2}',
        b'{"v":{"__date__":"x"}}',
        b'{"v":{"__date__":99999999}}',
        b'{"v":{"__timestamp__":[1,"hours",null]}}',
        b'{"v":{"__bytes_b64__":"x"}}',
        b'{"v":{"__decimal__":"x"}}',
        b'{"v":{"__escaped__":1}}',
        b'{"v":{"__map__":[1]}}',
    ],
)
def test_json_that_is_no_row_is_foreign(line: bytes) -> None:
    """JSON that no encoder writes is refused, whatever it breaks on."""
    with pytest.raises(PageForeign):
        decode_lines([line])
