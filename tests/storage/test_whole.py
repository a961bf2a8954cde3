"""A file cut between two record batches is noticed, and a sound one is never refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.errors import BadParameter, DatasetDamaged
from fdss.storage import ArrowBackend
from fdss.storage.messages import RECORD_BATCH, messages

Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]

ROWS = 3000


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return a folder that ``load_dataset`` prepared, of three record batches."""
    from datasets import load_dataset

    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps({"n": n}) for n in range(ROWS)))
    dataset = load_dataset("json", data_files=str(source), cache_dir=str(tmp_path / "cache"))
    return Path(dataset["train"].cache_files[0]["filename"]).parent


@pytest.fixture
def saved(prepared: Path, tmp_path: Path) -> Path:
    """Return a folder that ``save_to_disk`` wrote of a part, which tells the rows of the whole."""
    from datasets import Dataset

    [file] = prepared.glob("*.arrow")
    whole = Dataset.from_file(str(file))
    whole.select(range(0, ROWS, 2)).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def rebatch(file: Path) -> list[int]:
    """Write a file again in record batches of 500 rows; return where each ends."""
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        table = reader.read_all()
    with pa.ipc.new_stream(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    found = [message for message in messages(file) if message.kind == RECORD_BATCH]
    return [message.offset + message.length for message in found]


def test_cut_prepared(prepared: Path, open_at: Open) -> None:
    """Prepared rows are counted: fewer than recorded are refused, with or without a marker."""
    [file] = prepared.glob("*.arrow")
    ends = rebatch(file)
    assert len(open_at(prepared)) == ROWS
    content = file.read_bytes()
    for tail in (b"", content[-8:]):
        file.write_bytes(content[: ends[3]] + tail)
        with pytest.raises(
            DatasetDamaged, match=r"has 2,000 rows, its dataset_info.json says 3,000"
        ):
            open_at(prepared)
    file.write_bytes(content[: ends[-1]])
    assert len(open_at(prepared)) == ROWS


def test_cut_saved(saved: Path, open_at: Open, tmp_path: Path) -> None:
    """Saved rows, of which no count is recorded that holds, end with a marker."""
    [file] = saved.glob("*.arrow")
    ends = rebatch(file)
    assert len(open_at(saved)) == ROWS // 2
    content = file.read_bytes()
    for cut in ends:
        file.write_bytes(content[:cut])
        with pytest.raises(DatasetDamaged, match=r"'data-.*arrow' of .* is cut") as damaged:
            open_at(saved)
        assert str(tmp_path) not in damaged.value.message
    file.write_bytes(content[: ends[0]] + bytes(len(content) - ends[0]))
    with pytest.raises(DatasetDamaged, match="is cut"):
        open_at(saved)


def test_cut_is_noticed_on_every_opening(saved: Path, open_at: Open) -> None:
    """An index that was kept does not hide the cut."""
    [file] = saved.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-8])
    assert len(open_at(file)) == ROWS // 2
    for _ in range(2):
        with pytest.raises(DatasetDamaged):
            open_at(saved)


@pytest.mark.parametrize("made", ["select", "filter", "map", "shards", "memory", "concatenated"])
def test_sound_saved(made: str, prepared: Path, tmp_path: Path, open_at: Open) -> None:
    """Whatever was saved, the split information that came along is not held against it."""
    from datasets import Dataset, concatenate_datasets, load_dataset

    rows = str(tmp_path / "rows.jsonl")
    whole = load_dataset("json", data_files=rows, split="train", cache_dir=str(tmp_path / "cache"))
    dataset = {
        "select": lambda: whole.select(range(7)),
        "filter": lambda: whole.filter(lambda row: row["n"] % 3 == 0),
        "map": lambda: whole.map(lambda row: {"m": row["n"]}),
        "shards": lambda: whole,
        "memory": lambda: Dataset.from_dict({"n": [1, 2, 3]}),
        "concatenated": lambda: concatenate_datasets([whole, whole]),
    }[made]()
    dataset.save_to_disk(str(tmp_path / made), num_shards=3 if made == "shards" else None)
    assert len(open_at(tmp_path / made)) == len(dataset)


@pytest.mark.parametrize(
    "told", [None, {}, {"num_examples": 0}, {"num_examples": None}, {"num_examples": "3000"}]
)
def test_no_count_recorded(told: Any, prepared: Path, open_at: Open) -> None:
    """Without a count the marker decides, and a sound preparation opens."""
    info = json.loads((prepared / "dataset_info.json").read_text())
    info["splits"] = {"train": told}
    (prepared / "dataset_info.json").write_text(json.dumps(info))
    assert len(open_at(prepared)) == ROWS
    [file] = prepared.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DatasetDamaged, match="is cut"):
        open_at(prepared)


def test_counts_of_shards(prepared: Path, open_at: Open) -> None:
    """Lengths of shards count where no whole is told; contradicting counts tell nothing."""
    info = json.loads((prepared / "dataset_info.json").read_text())
    for told, is_sound in [
        ({"shard_lengths": [ROWS]}, True),
        ({"shard_lengths": [ROWS + 1]}, False),
        ({"shard_lengths": [ROWS + 1], "num_examples": ROWS - 1}, True),
    ]:
        info["splits"] = {"train": told}
        (prepared / "dataset_info.json").write_text(json.dumps(info))
        if is_sound:
            assert len(open_at(prepared)) == ROWS
        else:
            with pytest.raises(DatasetDamaged, match="says 3,001"):
                open_at(prepared)


def test_arrow_file_format(saved: Path, open_at: Open) -> None:
    """Arrow files, which end with a footer, need no marker."""
    [file] = saved.glob("*.arrow")
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        table = reader.read_all()
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table)
    assert len(open_at(saved)) == ROWS // 2


def test_name_of_a_saved_dataset(saved: Path, prepared: Path, open_at: Open) -> None:
    """Saved and prepared folders have no configuration but the one that they record."""
    for folder in (saved, prepared):
        info = json.loads((folder / "dataset_info.json").read_text())
        info["config_name"] = "english"
        (folder / "dataset_info.json").write_text(json.dumps(info))
        assert len(open_at(folder, name="english")) == len(open_at(folder))
        with pytest.raises(BadParameter, match="no configuration 'french'.*'english'") as refused:
            open_at(folder, name="french")
        assert "leave the argument 'name' out" in refused.value.hint
    [file] = saved.glob("*.arrow")
    with pytest.raises(BadParameter, match="no configuration 'english'"):
        open_at(file, name="english")


def test_name_of_a_saved_dict(tmp_path: Path, open_at: Open) -> None:
    """A saved dictionary has the configuration that its splits record, or none."""
    from datasets import Dataset, DatasetDict

    folder = tmp_path / "dict"
    DatasetDict({"train": Dataset.from_dict({"n": [1]})}).save_to_disk(str(folder))
    with pytest.raises(BadParameter, match="no configuration 'english'"):
        open_at(folder, name="english")
    info = folder / "train" / "dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "config_name": "english"}))
    assert len(open_at(folder, name="english")) == 1
