"""What a folder holds is told without preparing or opening it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from fdss.storage import cached_datasets, describe_folder
from fdss.storage.listing import meta_hash


def test_saved_dataset(sample_folder: Path, sample_rows: list[dict[str, Any]]) -> None:
    """Of a saved dataset the splits, rows, features and sizes are told."""
    told = describe_folder(sample_folder)
    files = list(sample_folder.iterdir())
    assert told["layout"] == "dataset"
    assert told["size_bytes"] == sum(file.stat().st_size for file in files)
    arrow_bytes = sum(file.stat().st_size for file in files if file.suffix == ".arrow")
    rows = len(sample_rows)
    assert told["splits"] == [{"name": "train", "num_examples": rows, "num_bytes": arrow_bytes}]
    assert list(told["features"]) == list(sample_rows[0])


def test_saved_dict(tmp_path: Path) -> None:
    """Of a saved dictionary every split is told, counted as it is and not as it was made of."""
    from datasets import Dataset, DatasetDict

    dataset = Dataset.from_dict({"n": list(range(10))})
    splits = {"train": dataset, "test": dataset.select(range(4))}
    DatasetDict(splits).save_to_disk(str(tmp_path / "dict"))
    told = describe_folder(tmp_path / "dict")
    assert told["layout"] == "dataset_dict"
    assert {split["name"]: split["num_examples"] for split in told["splits"]} == {
        "train": 10,
        "test": 4,
    }


def test_other_folders(tmp_path: Path) -> None:
    """Folders of something else and missing ones have no splits, and raise nothing."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "x.json").write_text("{}")
    told = describe_folder(tmp_path / "rows")
    assert (told["layout"], told["splits"], told["size_bytes"]) == ("unknown", [], 2)
    assert describe_folder(tmp_path / "none")["layout"] == "missing"


@pytest.mark.parametrize("damage", ["state.json", "dataset_info.json", "data-00000-of-00003.arrow"])
def test_damaged_folder(own_sample_folder: Path, damage: str) -> None:
    """A damaged folder is of unknown layout rather than an error."""
    (own_sample_folder / damage).write_text("?")
    assert describe_folder(own_sample_folder)["layout"] == "unknown"


NESTED = "[" * 200_000
ODD: dict[str, tuple[str, str | bytes]] = {
    "nested": ("state.json", NESTED),
    "nested-info": ("dataset_info.json", NESTED),
    "long-name": ("state.json", json.dumps({"_data_files": [{"filename": "x" * 5000}]})),
    "half-a-pair": ("dataset_info.json", '{"config_name": "\\ud800"}'),
    "large-number": ("dataset_info.json", json.dumps({"config_name": 1 << 70})),
    "half-a-pair-split": ("state.json", '{"_split": "\\ud800", "_data_files": [{}]}'),
    "no-text": ("dataset_info.json", b'{"a": "\xff"}'),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_content_is_unknown(own_sample_folder: Path, case: str) -> None:
    """Whatever files of a folder hold, it is told of as JSON that can be sent."""
    name, content = ODD[case]
    (own_sample_folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    told = describe_folder(own_sample_folder)
    assert (told["layout"], told["splits"]) == ("unknown", [])
    orjson.dumps(told)


def test_odd_features_are_unknown(tmp_path: Path) -> None:
    """Features that are nested too deep, or no features, make a folder unknown."""
    for number, features in enumerate(["[" * 200_000, "[]", '{"info": {"features": {"n": 1}}}']):
        folder = tmp_path / str(number)
        folder.mkdir()
        metadata = {b"huggingface": features.encode()}
        batch = pa.record_batch({"n": [1]}).replace_schema_metadata(metadata)
        with pa.ipc.new_stream(str(folder / "a.arrow"), batch.schema) as writer:
            writer.write_batch(batch)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
        assert describe_folder(folder)["layout"] == "unknown"


def test_odd_caches_are_left_out(tmp_path: Path) -> None:
    """What cannot be sent as JSON is left out of the list of the cache."""
    for name, count in (("a___b", 5), ("a___c", 1 << 70)):
        folder = tmp_path / name / "default" / "0.0.0"
        folder.mkdir(parents=True)
        info = {"splits": {"train": {"num_examples": count}}}
        (folder / "dataset_info.json").write_text(json.dumps(info))
    told = cached_datasets(tmp_path)
    assert [entry["repo"] for entry in told["datasets"]] == ["a/b"]


def test_meta_hash() -> None:
    """The hash depends on names of features and on splits and their rows, in no order."""
    splits = [{"name": "a", "num_examples": 1, "num_bytes": 5}, {"name": "b", "num_examples": 2}]
    expected = meta_hash({"x": 1, "y": 2}, splits)
    assert len(expected) == 16
    assert meta_hash(["y", "x"], [*reversed(splits), "odd"]) == expected
    assert meta_hash(["x"], splits) != expected
    assert meta_hash(["x", "y"], splits[:1]) != expected
    assert meta_hash({}, []) == meta_hash([], [])
