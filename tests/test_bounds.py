"""Offsets that lead out of a column are found; what the bytes of text say is nobody's business."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fdss.bounds import check_bounds

TEXTS = pa.array(["one", None, "three", ""])
COLUMNS = {
    "text": TEXTS,
    "large": TEXTS.cast(pa.large_string()),
    "bytes": TEXTS.cast(pa.binary()),
    "numbers": pa.array([1, None, 3, 4]),
    "list": pa.array([["a", "bc"], [], None, ["d"]]),
    "large list": pa.array([["a", "bc"], [], None, ["d"]], pa.large_list(pa.string())),
    "fixed list": pa.array([["a", "b"]] * 4, pa.list_(pa.string(), 2)),
    "struct": pa.array([{"a": "x", "b": 1}] * 4),
    "map": pa.array(
        [[("k", ["v", "w"])], [], None, [("l", [])]], pa.map_("string", pa.list_(pa.string()))
    ),
    "lists of structs": pa.array([[{"a": ["x"]}], [], None, [{"a": []}]]),
    "dictionary": TEXTS.dictionary_encode(),
    "nothing": pa.nulls(4),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_sound_columns_pass(name: str) -> None:
    """A column of any type that Arrow made is within its bounds, whole or sliced."""
    check_bounds(COLUMNS[name])
    check_bounds(COLUMNS[name].slice(1, 2))


def with_offsets(array: Any, offsets: list[int]) -> Any:
    """Return the column with other offsets in its first level that has some."""
    width = np.int64 if "large" in str(array.type) else np.int32
    buffers = array.buffers()
    at = next(number for number, buffer in enumerate(buffers) if number and buffer is not None)
    buffers[at] = pa.py_buffer(np.array(offsets, width))
    return pa.Array.from_buffers(
        array.type,
        len(array),
        buffers[: array.type.num_buffers],
        children=[array.values] if array.type.num_fields else None,
    )


@pytest.mark.parametrize("name", ["text", "large", "bytes", "list", "large list"])
@pytest.mark.parametrize("offsets", [[0, 3, 3, 8, 1 << 20], [0, 3, -1, 8, 8], [0, 3, 1, 8, 8]])
def test_offsets_that_lead_out_are_refused(name: str, offsets: list[int]) -> None:
    """An offset behind the end, before the beginning or before the last one is an error."""
    with pytest.raises(pa.ArrowInvalid):
        check_bounds(with_offsets(COLUMNS[name], offsets))


def test_offsets_deep_inside_are_looked_at() -> None:
    """Text inside of lists is within its bounds too."""
    inner = with_offsets(pa.array(["a", "bc", "d"]), [0, 1, 1 << 20, 4])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3]), inner)
    with pytest.raises(pa.ArrowInvalid):
        check_bounds(lists)


def test_text_is_not_read() -> None:
    """Bytes that are no UTF-8 pass: whoever makes text of them finds them."""
    column = pa.array([b"\xff\xfe", b"ok"]).view(pa.string())
    check_bounds(column)
    with pytest.raises(UnicodeDecodeError):
        column.to_pylist()
