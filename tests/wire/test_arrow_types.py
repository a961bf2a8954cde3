"""Whatever Arrow can nest, tagged NDJSON brings back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from samples import same
from strict_json import strict_rows

from fdss.wire.names import PLAIN, TAGGED
from fdss.wire.ndjson import decode_lines, encode_batch

TAG_NAMES = ["__bytes_b64__", "__date__", "__map__", "__escaped__", "__float__", "__x__"]


def arrived(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return decode_lines(encode_batch(batch, TAGGED).split(b"\n")[:-1])


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(pa.array(["a", None, "a"]).dictionary_encode(), id="dictionary"),
        pytest.param(pa.array([b"a", None]).dictionary_encode(), id="dictionary of bytes"),
        pytest.param(pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), id="run ends"),
        pytest.param(pa.array([[1], None, []], pa.list_view(pa.int8())), id="list view"),
        pytest.param(
            pa.array([[b"x"], None], pa.large_list_view(pa.binary())), id="large list view"
        ),
        pytest.param(
            pa.array([[("a", [1])], None, []], pa.map_(pa.string(), pa.list_(pa.int8()))), id="map"
        ),
        pytest.param(
            pa.array([[(b"k", [("x", 1)])]], pa.map_(pa.binary(), pa.map_(pa.string(), pa.int8()))),
            id="map of maps",
        ),
        pytest.param(pa.array([{}, None], pa.struct({})), id="struct of nothing"),
        pytest.param(
            pa.array([[{}, None], []], pa.list_(pa.struct({}))), id="list of structs of nothing"
        ),
        pytest.param(pa.array([[], []], pa.list_(pa.list_(pa.int64()))), id="only empty lists"),
        pytest.param(
            pa.array([[1] * 20, None, [2] * 20], pa.list_(pa.int32(), 20)), id="fixed size list"
        ),
        pytest.param(
            pa.ListArray.from_arrays(
                pa.array([0, 2, 4], pa.int32()),
                pa.array([1, 2, 3, 4]),
                mask=pa.array([True, False]),
            ),
            id="values behind a null",
        ),
        pytest.param(pa.array(["{}"], pa.json_()), id="extension"),
    ],
)
def test_types_that_datasets_does_not_store_arrive_too(array: pa.Array) -> None:
    """Types that only Arrow has come back as ``to_pylist`` gives them, also from a slice."""
    batch = pa.record_batch({"v": array})

    assert same(arrived(batch), batch.to_pylist())
    assert same(arrived(batch.slice(1)), batch.to_pylist()[1:])


UNITS = st.sampled_from(["s", "ms", "us", "ns"])
LEAVES = st.one_of(
    st.sampled_from(
        [
            *(pa.null(), pa.bool_(), pa.int8(), pa.int64(), pa.uint64()),
            *(pa.float16(), pa.float32(), pa.float64()),
            *(pa.string(), pa.large_string(), pa.string_view()),
            *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)),
            *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms")),
            *(pa.time64("us"), pa.time64("ns"), pa.decimal128(9, 3), pa.decimal256(60, 0)),
        ]
    ),
    UNITS.map(pa.duration),
    st.builds(pa.timestamp, UNITS, st.sampled_from([None, "UTC", "Europe/Paris", "-03:30"])),
)
NAMES = st.one_of(st.sampled_from(TAG_NAMES), st.text(st.characters(codec="utf-8"), max_size=4))


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        st.builds(pa.list_, inner, st.integers(1, 3)),
        fields.map(pa.struct),
        st.builds(pa.map_, st.sampled_from([pa.string(), pa.int8(), pa.binary()]), inner),
    )


TYPES = st.recursive(LEAVES, _nested, max_leaves=5)


def _cells(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Return values that ``pa.array`` takes for a type; integers stand for ticks."""
    return st.none() | _known(type_)


def _known(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_struct(type_):
        fields = {field.name: _cells(field.type) for field in type_}
        return st.fixed_dictionaries(fields)
    if pa.types.is_map(type_):
        entries = st.tuples(_known(type_.key_type), _cells(type_.item_type))
        return st.lists(entries, max_size=3)
    if pa.types.is_fixed_size_list(type_):
        return st.lists(
            _cells(type_.value_type), min_size=type_.list_size, max_size=type_.list_size
        )
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        # Long lists without nulls go another way than short ones.
        return st.lists(_cells(type_.value_type), max_size=3) | st.lists(
            _known(type_.value_type), min_size=17, max_size=20
        )
    return _leaf(type_)


def _leaf(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_null(type_):
        return st.none()
    if pa.types.is_boolean(type_):
        return st.booleans()
    if pa.types.is_floating(type_):
        return st.floats(width=type_.bit_width)
    if pa.types.is_integer(type_):
        bits, signed = type_.bit_width, pa.types.is_signed_integer(type_)
        low = -(2 ** (bits - 1)) if signed else 0
        return st.integers(low, low + 2**bits - 1)
    if pa.types.is_fixed_size_binary(type_):
        return st.binary(min_size=2, max_size=2)
    if pa.types.is_decimal(type_):
        return st.decimals(-(10**5), 10**5, places=type_.scale)
    if pa.types.is_temporal(type_):
        return _ticks(type_)
    if "binary" in str(type_):
        return st.binary(max_size=5)
    return st.text(st.characters(codec="utf-8"), max_size=5)


def _ticks(type_: pa.DataType) -> st.SearchStrategy[int]:
    if pa.types.is_date32(type_):
        return st.integers(-100_000, 100_000)
    if pa.types.is_date64(type_):
        return st.integers(-100_000, 100_000).map(lambda days: days * 86_400_000)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[type_.unit]
    if pa.types.is_time(type_):
        return st.integers(0, 86_400 * per_second - 1)
    return st.integers(-(2**32) * per_second, 2**32 * per_second)


BATCHES = TYPES.flatmap(
    lambda type_: st.tuples(
        NAMES,
        st.lists(_cells(type_), min_size=1, max_size=4).map(lambda cells: pa.array(cells, type_)),
    )
).map(lambda column: pa.record_batch({column[0]: column[1]}))


@settings(max_examples=100)
@given(BATCHES)
def test_any_batch_arrives_as_arrow_gives_it(batch: pa.RecordBatch) -> None:
    """Tagged NDJSON brings back the values and types of ``to_pylist`` for any nesting."""
    assert same(arrived(batch), batch.to_pylist())
    assert same(arrived(batch.slice(1)), batch.slice(1).to_pylist())


@settings(max_examples=60)
@given(BATCHES, st.sampled_from([PLAIN, TAGGED]))
def test_any_batch_is_strict_json(batch: pa.RecordBatch, dialect: str) -> None:
    """Every line of any batch is strict JSON, with a line feed at its end only."""
    assert len(strict_rows(encode_batch(batch, dialect))) == batch.num_rows
