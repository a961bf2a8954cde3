"""Rows from record batches are the rows ``datasets`` gives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, Dataset, Features, Video
from samples import SAMPLES, Sample, same, sound

from fdss.errors import PageForeign, UncarriableValue
from fdss.rows import BatchChunk, RowMaker, features_of

each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))


@each_sample
def test_rows_are_what_datasets_gives(sample: Sample) -> None:
    """Every feature gives the values, and the types of values, of a ``datasets.Dataset``."""
    batch = sample.stored()

    rows = RowMaker(features_of(batch.schema)).rows(batch)

    assert same(rows, list(sample.dataset()))


@each_sample
def test_rows_of_a_slice_are_a_slice_of_the_rows(sample: Sample) -> None:
    """A batch that begins inside another one gives that one's rows from there on."""
    batch = sample.stored()

    rows = RowMaker(features_of(batch.schema)).rows(batch.slice(1))

    assert same(rows, list(sample.dataset())[1:])


@each_sample
def test_features_are_those_datasets_finds(sample: Sample) -> None:
    """Features come from the metadata as ``datasets`` reads them."""
    expected = json.loads(json.dumps(sample.dataset().features.to_dict()))

    assert features_of(sample.stored().schema) == expected


@each_sample
def test_features_without_metadata_are_those_datasets_makes(sample: Sample) -> None:
    """Without metadata, features are what ``datasets`` makes of the Arrow types."""
    schema = sample.stored().schema.remove_metadata()

    assert features_of(schema) == Features.from_arrow_schema(schema).to_dict()


@pytest.mark.parametrize(
    ("stale", "stored"),
    [
        pytest.param({"dtype": "string", "_type": "Value"}, pa.large_string(), id="value"),
        pytest.param({"names": ["a"], "_type": "ClassLabel"}, pa.string(), id="label"),
        pytest.param(
            {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"},
            pa.large_list(pa.int32()),
            id="list",
        ),
        pytest.param(
            {"feature": {"dtype": "int32", "_type": "Value"}, "length": 3, "_type": "List"},
            pa.list_(pa.int32(), 2),
            id="length",
        ),
        pytest.param(
            {"a": {"dtype": "int32", "_type": "Value"}},
            pa.struct({"b": pa.int32()}),
            id="struct",
        ),
    ],
)
def test_features_that_do_not_fit_are_passed_over(stale: Any, stored: pa.DataType) -> None:
    """Metadata that describes another type is passed over, as ``datasets`` does."""
    metadata = {"huggingface": json.dumps({"info": {"features": {"v": stale}}})}
    schema = pa.schema({"v": stored}, metadata=metadata)

    assert features_of(schema) == Features.from_arrow_schema(schema).to_dict()
    assert features_of(schema)["v"] != stale


@pytest.mark.parametrize(
    ("feature", "stored"),
    [
        pytest.param([{"dtype": "int32", "_type": "Value"}], pa.list_(pa.int32()), id="bare list"),
        pytest.param(
            {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"},
            pa.list_(pa.int32()),
            id="sequence",
        ),
        pytest.param(
            {"feature": {"a": {"dtype": "int32", "_type": "Value"}}, "_type": "Sequence"},
            pa.struct({"a": pa.list_(pa.int32())}),
            id="sequence of dict",
        ),
    ],
)
def test_features_of_old_datasets_are_understood(feature: Any, stored: pa.DataType) -> None:
    """The forms that earlier versions of ``datasets`` wrote are features too."""
    metadata = {"huggingface": json.dumps({"info": {"features": {"v": feature}}})}
    schema = pa.schema({"v": stored}, metadata=metadata)
    value = {"a": [1]} if pa.types.is_struct(stored) else [1]
    batch = pa.record_batch([pa.array([value, None], stored)], schema=schema)

    assert features_of(schema) == {"v": feature}
    assert RowMaker(features_of(schema)).rows(batch) == list(Dataset(pa.table(batch)))


def test_columns_come_in_the_order_asked_for() -> None:
    """A projection gives its columns in its order, special ones among them."""
    batch = SAMPLES["image among others"].stored()
    wanted = ["when", "image", "id"]

    rows = RowMaker(features_of(batch.schema), wanted).rows(batch.select(wanted))

    expected = [
        {name: row[name] for name in wanted} for row in SAMPLES["image among others"].dataset()
    ]
    assert same(rows, expected)


def test_no_columns_give_empty_rows() -> None:
    """A projection onto nothing still has a row for each row."""
    batch = SAMPLES["int8"].stored()

    assert RowMaker(features_of(batch.schema), []).rows(batch) == [{}] * batch.num_rows


def test_plain_features_do_without_datasets(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Rows of plain features, and of media that is not decoded, do not import ``datasets``."""
    program = """
import sys, pyarrow as pa
from fdss.rows import RowMaker, features_of
batch = pa.record_batch({"a": [1], "b": [["x"]], "c": [{"d": b"e"}]})
features = {**features_of(batch.schema), "c": {"decode": False, "_type": "Audio"}}
assert RowMaker(features).rows(batch) == [{"a": 1, "b": ["x"], "c": {"d": b"e"}}]
print("datasets" in sys.modules)
"""
    assert run_python("-c", program).stdout.strip() == "False"


@pytest.mark.parametrize("feature", [Audio(), Video()], ids=["audio", "video"])
def test_media_that_cannot_be_decoded_fails_as_in_datasets(feature: Any) -> None:
    """Where ``datasets`` refuses to decode, so do we, in the same words."""
    stored = pa.array([{"bytes": sound(), "path": None}], feature.pa_type)
    dataset = Dataset(pa.table({"v": stored})).cast(Features({"v": feature}))
    batch = pa.record_batch({"v": stored})

    with pytest.raises(ImportError) as expected:
        list(dataset)
    with pytest.raises(ImportError) as found:
        RowMaker({"v": {"_type": type(feature).__name__}}).rows(batch)

    assert str(found.value) == str(expected.value)


def test_an_unknown_feature_is_refused_by_name() -> None:
    """A feature that the installed ``datasets`` does not know is an error, not a guess."""
    batch = pa.record_batch({"v": [1]})

    with pytest.raises(UncarriableValue, match="'Hologram'") as refusal:
        RowMaker({"v": {"_type": "Hologram"}}).rows(batch)

    assert "'v'" in refusal.value.message


def test_a_date_outside_python_names_its_column() -> None:
    """A value that Python has no type for is an error that names its column."""
    far = pa.array([10**8], pa.int32()).cast(pa.date32())
    batch = pa.record_batch({"fine": [1], "far": far})

    with pytest.raises(UncarriableValue, match="'far'"):
        RowMaker(features_of(batch.schema)).rows(batch)


def test_a_chunk_knows_its_length_and_its_rows() -> None:
    """A chunk of a batch has the batch's length and rows."""
    batch = pa.record_batch({"n": np.arange(3)})
    chunk = BatchChunk(batch, RowMaker(features_of(batch.schema)))

    assert (len(chunk), chunk.rows()) == (3, [{"n": 0}, {"n": 1}, {"n": 2}])


def test_a_batch_whose_values_lie_elsewhere_is_refused() -> None:
    """A view that leads out of the batch it came in is an error of the page."""
    views = pa.array(["longer than a view holds"] * 3, pa.string_view())
    _, places, content = views.buffers()
    moved = np.frombuffer(places, np.int32).copy()
    # The offset of the last view.
    moved[-1] = 1 << 20
    batch = pa.record_batch(
        [pa.Array.from_buffers(views.type, 3, [None, pa.py_buffer(moved), content])], ["a"]
    )

    with pytest.raises(PageForeign):
        RowMaker(features_of(batch.schema)).checked(batch)
