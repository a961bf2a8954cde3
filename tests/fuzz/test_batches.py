"""Record batches from anybody: rows, or a typed error, and the process goes on."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fuzz_examples import HUNTED, examples
from hypothesis import given, strategies as st

from fdss.errors import FdssError
from fdss.rows import BatchChunk, RowMaker, features_of

SCRIPT = Path(__file__).parents[1] / "fuzz_arrow.py"
SEED = 7_000_000
ROWS = 4

EDGES = st.sampled_from([0, 1, -1, 2, 3, 4, 5, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 40])
BYTES = st.one_of(st.none(), st.binary(max_size=12), st.sampled_from([b"\xff", b"\xed\xa0\x80"]))
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
WHOLE_TYPES = [
    pa.timestamp("s"),
    pa.timestamp("us", "Mars/Base"),
    pa.timestamp("ns", "+25:00"),
    pa.timestamp("ms", "../../etc/hostname"),
    pa.duration("s"),
    pa.time64("ns"),
    pa.time64("us"),
    pa.date64(),
    pa.int64(),
]


def test_damaged_bodies(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A body that was damaged in transit ends in rows or typed errors, never in a dead process."""
    count = HUNTED or 400
    done = run_python(str(SCRIPT), str(SEED), str(count), check=False)

    assert done.returncode == 0, done.stdout[-40:] + done.stderr[-2000:]
    assert f"decoded {count}" in done.stdout


def read(batch: pa.RecordBatch, features: dict[str, Any] | None = None) -> None:
    """Make rows of a batch as the client does; typed errors are fine."""
    with contextlib.suppress(FdssError):
        maker = RowMaker(features or features_of(batch.schema))
        str(BatchChunk(maker.checked(batch), maker).rows())


@examples(150)
@given(st.lists(EDGES, min_size=ROWS + 1, max_size=ROWS + 1), st.binary(max_size=16), st.data())
def test_offsets_at_the_edges(offsets: list[int], content: bytes, data: Any) -> None:
    """Offsets that lead anywhere are found before they are followed."""
    type_ = data.draw(st.sampled_from([pa.string(), pa.large_binary(), pa.list_(pa.int8())]))
    width: type[np.signedinteger[Any]] = np.int64 if "large" in str(type_) else np.int32
    places = pa.py_buffer(np.array(offsets).astype(width))
    children = None
    buffers = [None, places, pa.py_buffer(content)]
    if pa.types.is_list(type_):
        children = [pa.array(np.frombuffer(content, np.int8))]
        buffers = buffers[:2]
    with contextlib.suppress(pa.ArrowInvalid):
        read(pa.record_batch({"n": pa.Array.from_buffers(type_, ROWS, buffers, children=children)}))


@examples(150)
@given(st.lists(BYTES, min_size=1, max_size=ROWS))
def test_text_that_is_none(values: list[bytes | None]) -> None:
    """Text that is no UTF-8 is a typed error."""
    read(pa.record_batch({"n": pa.array(values, pa.binary()).view(pa.string())}))


@examples(150)
@given(st.lists(NUMBERS, min_size=1, max_size=ROWS), st.sampled_from(WHOLE_TYPES))
def test_numbers_beyond_what_python_has(values: list[int], type_: pa.DataType) -> None:
    """Times, dates and durations that Python has no value for are typed errors."""
    read(pa.record_batch({"n": pa.array(values, pa.int64()).view(type_)}))


@examples(60)
@given(st.lists(NUMBERS, min_size=1, max_size=ROWS))
def test_class_labels_out_of_range(values: list[int]) -> None:
    """A class label that no class has is a number like any other."""
    label = {"n": {"names": ["a", "b"], "_type": "ClassLabel"}}
    maker = RowMaker(label)
    batch = pa.record_batch({"n": values})

    assert maker.rows(maker.checked(batch)) == [{"n": value} for value in values]


FEATURES: list[Any] = [
    {"_type": "Image"},
    {"_type": "Json"},
    {"_type": "Nonsense"},
    {"shape": [2, 2], "dtype": "int32", "_type": "Array2D"},
    {"shape": [1 << 40, 1 << 40], "dtype": "int32", "_type": "Array2D"},
    {"shape": "x", "dtype": [], "_type": "Array2D"},
    {"feature": {"_type": "Image"}, "_type": "List"},
    {"feature": {"a": {"_type": "Image"}}, "_type": "Sequence"},
    {"names": 7, "names_file": "/etc/hostname", "_type": "ClassLabel"},
    {"languages": 7, "_type": "Translation"},
]
VALUES: list[Any] = [
    [b"\x89PNG"],
    ["/etc/hostname"],
    [[[1, 2], [3, 4]]],
    [[[1]]],
    ["{"],
    [{"bytes": b"GIF89a", "path": None}],
    [[{"bytes": None, "path": "http://127.0.0.1:9/x"}]],
    [{"a": [{"bytes": None, "path": "x"}]}],
    [None],
]


@pytest.mark.parametrize("feature", FEATURES, ids=str)
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_features_of_other_values(feature: Any, value: Any) -> None:
    """Whatever a feature is told of whatever a column holds, no file or address is opened."""
    read(pa.record_batch({"n": value}), {"n": feature})
