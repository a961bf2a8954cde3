"""The fingerprint tells rows apart, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.storage import ArrowBackend
from fdss.storage.fingerprint import SAMPLED_ROWS, sampled_rows
from fdss.storage.schemas import canonical_schema, storage_schema

Open = Callable[..., ArrowBackend]

ROWS = 1000


def batches(size: int, changed: int | None = None, rows: int = ROWS) -> list[dict[str, Any]]:
    """Return rows in batches of a size; one of them changed, if so asked."""
    texts = [f"row {row}" if row != changed else "changed" for row in range(rows)]
    return [
        {"text": texts[begin : begin + size], "n": list(range(begin, min(begin + size, rows)))}
        for begin in range(0, rows, size)
    ]


def test_pinned(write: Callable[..., Path], open_at: Open) -> None:
    """The fingerprint of these rows is the same in every release."""
    found = open_at(write("x.arrow", batches(100))).fingerprint
    assert found == "71bfd5cbbf56e5082bb85f67e7b42e1997bd09d5d72e4c8c4ae80e40b93f6a71"


def test_same_rows(write: Callable[..., Path], open_at: Open, tmp_path: Path) -> None:
    """Batch sizes, names, times, compression, format and slicing do not enter."""
    path = write("a.arrow", batches(100))
    expected = open_at(path).fingerprint
    assert open_at(write("b.arrow", batches(7))).fingerprint == expected
    assert open_at(write("c.arrow", batches(ROWS), compression="zstd")).fingerprint == expected
    assert open_at(write("d.arrow", batches(50), is_file=True)).fingerprint == expected
    assert open_at(path, split="train[:400]+train[400:]").fingerprint == expected
    os.utime(path, ns=(5, 5))
    assert open_at(path).fingerprint == expected


def test_sharding(tmp_path: Path, open_at: Open, sample_dataset: Any) -> None:
    """A dataset saved in one file and in seven has one fingerprint."""
    found = set()
    for shards in (1, 7):
        sample_dataset.save_to_disk(str(tmp_path / f"{shards}"), num_shards=shards)
        found.add(open_at(tmp_path / f"{shards}").fingerprint)
    assert len(found) == 1


@pytest.mark.parametrize("changed", [0, ROWS - 1, int(sampled_rows(ROWS)[100])])
def test_changed_row(write: Callable[..., Path], open_at: Open, changed: int) -> None:
    """One changed row among those sampled gives another fingerprint."""
    before = open_at(write("x.arrow", batches(100))).fingerprint
    assert open_at(write("y.arrow", batches(100, changed))).fingerprint != before


def test_count_and_order(write: Callable[..., Path], open_at: Open) -> None:
    """A row less, or the same rows in another order, is another fingerprint."""
    path = write("x.arrow", batches(100, rows=200))
    splits = ["train", "train[:199]", "train[1:]", "train[100:]+train[:100]"]
    assert len({open_at(path, split=split).fingerprint for split in splits}) == 4


def test_columns(write: Callable[..., Path], open_at: Open) -> None:
    """Names and types of columns enter, also where values look the same."""
    tables: list[dict[str, Any]] = [
        {"n": pa.array([1, 2], pa.int64())},
        {"n": pa.array([1, 2], pa.int32())},
        {"m": pa.array([1, 2], pa.int64())},
    ]
    paths = [write(f"{number}.arrow", [table]) for number, table in enumerate(tables)]
    assert len({open_at(path).fingerprint for path in paths}) == 3


def test_canonical_schema() -> None:
    """Names of list items, nullability and other metadata do not enter; HF features do."""
    plain = pa.schema([("x", pa.list_(pa.int64()))])
    named = pa.schema(
        [pa.field("x", pa.list_(pa.field("element", pa.int64(), False)), False)],
        metadata={"pandas": "{}"},
    )
    assert canonical_schema(plain) == canonical_schema(named)
    label = '{"info": {"features": {"x": {"names": ["a"], "_type": "ClassLabel"}}}}'
    numbers = pa.schema([("x", pa.int64())])
    labelled = numbers.with_metadata({"huggingface": label})
    assert canonical_schema(numbers) != canonical_schema(labelled)


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 1000, 10**12])
def test_sampled_rows(count: int) -> None:
    """At most 256 different rows are sampled, the first and the last among them."""
    rows = sampled_rows(count).tolist()
    assert len(rows) == len(set(rows)) == min(count, SAMPLED_ROWS)
    assert rows == sorted(rows)
    if count:
        assert (rows[0], rows[-1]) == (0, count - 1)


def test_sampling_is_bounded(write: Callable[..., Path], open_at: Open) -> None:
    """Large rows are sampled one at a time."""
    path = write("x.arrow", [{"b": [bytes(1_000_000)] * 60}])
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    assert open_at(path).fingerprint
    assert pa.total_allocated_bytes() - before < 10_000_000


EXTENSIONS = """
import sys, pathlib
if "datasets" in sys.argv: import datasets
from fdss.arguments import LoadArguments
from fdss.storage import Folder, OpenOptions, open_dataset
here = pathlib.Path("indexes-" + sys.argv[-1])
options = OpenOptions(here, here, here)
path = pathlib.Path(sys.argv[1])
backend = open_dataset(Folder(path), LoadArguments("local/it"), options)
print(backend.fingerprint, backend.schema.types, "datasets" in sys.modules)
"""


def test_extension_types(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    """ArrayXD columns are read as they are stored, whether or not datasets is imported."""
    from datasets import Array2D, Dataset, Features

    features = Features({"image": Array2D((2, 2), "int32")})
    Dataset.from_dict({"image": [[[1, 2], [3, 4]]]}, features).save_to_disk(str(tmp_path / "saved"))

    def answer(mode: str) -> list[str]:
        found: subprocess.CompletedProcess[str] = run_python(
            "-c", EXTENSIONS, str(tmp_path / "saved"), mode
        )
        return found.stdout.split(maxsplit=1)

    (without, told_without), (imported, told) = answer("alone"), answer("datasets")
    assert without == imported
    assert told_without.startswith("[ListType(list<item: list<item: int32>>)] False")
    assert told.startswith("[ListType(list<item: list<item: int32>>)] True")


def test_json_type(write: Callable[..., Path], open_at: Open) -> None:
    """Arrow's own JSON type is read as the text that is stored."""
    values = pa.array(['{"a": 1}', None], pa.json_())
    backend = open_at(write("x.arrow", [{"j": values}]))
    assert backend.schema.types == [pa.string()]
    assert backend.schema.field("j").metadata is None


def test_storage_types() -> None:
    """Extensions and dictionaries are replaced wherever they stand in a type."""
    words = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema(
        {
            "a": pa.list_(words),
            "b": pa.struct({"c": pa.json_(), "d": words}),
            "e": pa.large_list(pa.json_()),
            "f": pa.list_(words, 2),
            "g": pa.map_(pa.string(), words),
        }
    )
    assert storage_schema(schema).types == [
        pa.list_(pa.string()),
        pa.struct({"c": pa.string(), "d": pa.string()}),
        pa.large_list(pa.string()),
        pa.list_(pa.string(), 2),
        pa.map_(pa.string(), pa.string()),
    ]
