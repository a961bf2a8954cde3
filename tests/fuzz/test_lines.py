"""Lines of JSON from anybody: rows, or a typed error."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pyarrow as pa
import pytest
from fuzz_examples import examples
from hypothesis import given, strategies as st

from fdss.client.bodies import decoded_lines
from fdss.errors import FdssError, PageCut, PageForeign
from fdss.rows import RowMaker
from fdss.wire import names, plain, tagged
from fdss.wire.ndjson import RowsChunk, decode_lines, encode_batch

TAGS = sorted(
    {
        value
        for module in (plain, tagged)
        for name, value in vars(module).items()
        if name.endswith("_TAG")
    }
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["s", "ms", "us", "ns", "UTC", "+01:00", "../etc/passwd", "Mars/Base", "\0"]),
    st.sampled_from(["nan", "1e999999999", "AAE=", "=", "\u0661"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "bytes", "path", *TAGS]), inner, max_size=2),
        st.builds(lambda tag, value: {tag: value}, st.sampled_from(TAGS), inner),
    ),
    max_leaves=8,
)
LINES = st.one_of(
    st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")),
    VALUES.map(lambda value: json.dumps({"n": value}).encode()),
    st.sampled_from([1, 30, 900, 3000]).map(
        lambda n: b'{"n":' + b"[" * n + b'{"__date__":1}' + b"]" * n + b"}"
    ),
    st.builds(
        lambda text, at, value: text[: at % len(text)] + bytes([value]) + text[at % len(text) :],
        st.sampled_from([b'{"n":{"__map__":[[1,2]]}}', b'{"n":{"__time__":[1,"s"]}}']),
        st.integers(0, 50),
        st.integers(0, 255).filter(lambda value: value != 10),
    ),
)
MAKERS = {
    "number": RowMaker({"n": {"dtype": "int64", "_type": "Value"}}),
    "label": RowMaker({"n": {"names": ["a"], "_type": "ClassLabel"}}),
    "array": RowMaker({"n": {"shape": [2, 2], "dtype": "int32", "_type": "Array2D"}}),
    "image": RowMaker({"n": {"_type": "Image"}}),
}
COLUMNS: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "time": pa.timestamp("ns", "UTC"),
    "day": pa.date32(),
    "lists": pa.list_(pa.struct({"__date__": pa.int64()})),
}


@pytest.mark.parametrize("dialect", [names.TAGGED, names.PLAIN])
@pytest.mark.parametrize("kind", MAKERS)
@examples(40)
@given(lines=st.lists(LINES, min_size=1, max_size=4))
def test_lines(dialect: str, kind: str, lines: list[bytes]) -> None:
    """Lines become rows up to the first that is none, and that has a typed error."""
    rows, fault = decoded_lines(lines, dialect)

    assert (fault is None) == (len(rows) == len(lines))
    maker = MAKERS[kind]
    with contextlib.suppress(FdssError):
        RowsChunk(rows[: maker.fitting(rows)], maker).rows()


@pytest.mark.parametrize("dialect", [names.TAGGED, names.PLAIN])
@examples(150)
@given(lines=st.lists(LINES, max_size=4))
def test_batches_of_lines(dialect: str, lines: list[bytes]) -> None:
    """The decoder of many lines gives a row for each, or one of two errors."""
    with contextlib.suppress(PageCut, PageForeign):
        assert len(decode_lines(lines, dialect)) == len(lines)


@examples(150)
@given(data=st.data())
def test_rows_come_back(data: Any) -> None:
    """What was encoded with tags is decoded to the same values."""
    name = data.draw(st.sampled_from(sorted(COLUMNS)))
    values = data.draw(st.lists(_values(COLUMNS[name]), max_size=5))
    batch = pa.record_batch({"n": pa.array(values, COLUMNS[name])})
    lines = encode_batch(batch, names.TAGGED).split(b"\n")[:-1]

    assert str(decode_lines(lines)) == str(batch.to_pylist())


def _values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    integers = st.integers(-(1 << 31), (1 << 31) - 1)
    if pa.types.is_floating(type_):
        return st.floats()
    if pa.types.is_string(type_):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
    if pa.types.is_binary(type_):
        return st.binary(max_size=9)
    if pa.types.is_date(type_):
        return st.dates()
    if pa.types.is_list(type_):
        return st.none() | st.lists(st.fixed_dictionaries({"__date__": integers}), max_size=3)
    return st.none() | integers
