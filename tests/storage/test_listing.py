"""What a folder holds is told without preparing or opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fdss.storage import describe_folder
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


def test_meta_hash() -> None:
    """The hash depends on names of features and on splits and their rows, in no order."""
    splits = [{"name": "a", "num_examples": 1, "num_bytes": 5}, {"name": "b", "num_examples": 2}]
    expected = meta_hash({"x": 1, "y": 2}, splits)
    assert len(expected) == 16
    assert meta_hash(["y", "x"], [*reversed(splits), "odd"]) == expected
    assert meta_hash(["x"], splits) != expected
    assert meta_hash(["x", "y"], splits[:1]) != expected
    assert meta_hash({}, []) == meta_hash([], [])
