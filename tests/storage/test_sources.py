"""Datasets are opened from what ``datasets`` and people leave on a disk."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.arguments import LoadArguments
from fdss.errors import (
    BadParameter,
    BadSplit,
    BuilderRefused,
    ContentChanged,
    DataFilesRefused,
    DatasetDamaged,
    DatasetNotFound,
    FdssError,
    SplitNotFound,
)
from fdss.storage import ArrowBackend, Named, OpenOptions, open_dataset, prepare

Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that looks up a host or connects to one."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"network: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def rows_folder(tmp_path: Path) -> Path:
    """Return a folder of JSON lines, for training and for testing."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for split, count in (("train", 20), ("test", 5)):
        lines = [json.dumps({"split": split, "n": n}) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Return a saved dictionary of two splits, and its splits."""
    from datasets import Dataset, DatasetDict

    splits = {
        "train": Dataset.from_dict({"n": list(range(100))}),
        "test": Dataset.from_dict({"n": list(range(100, 110))}),
    }
    DatasetDict(splits).save_to_disk(str(tmp_path / "dict"), num_shards={"train": 3, "test": 1})
    return tmp_path / "dict"


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of some rows."""
    return [row["n"] for row in rows]


def test_saved_dict(saved: Path, open_at: Open, read: Read) -> None:
    """A saved dictionary has its splits; ``train`` is meant when none is named."""
    assert numbers(read(open_at(saved))) == list(range(100))
    assert numbers(read(open_at(saved, split="test[-2:]+train[:3%]"))) == [108, 109, 0, 1, 2]
    assert len(open_at(saved, split="all")) == 110
    with pytest.raises(SplitNotFound, match="'dev'; found: train, test"):
        open_at(saved, split="dev")


def test_saved_dict_without_train(saved: Path, open_at: Open) -> None:
    """A dictionary without the default split says which splits it has."""
    (saved / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(SplitNotFound, match="found: test"):
        open_at(saved)


@pytest.mark.parametrize("recorded", [None, "test", "test[:10]", "a+b", "?"])
def test_saved_dataset(tmp_path: Path, open_at: Open, recorded: str | None) -> None:
    """A saved dataset is ``train`` and the split it was saved from, and no other."""
    from datasets import Dataset

    Dataset.from_dict({"n": [1, 2, 3]}).save_to_disk(str(tmp_path / "flat"))
    state = tmp_path / "flat" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "_split": recorded}))
    assert len(open_at(tmp_path / "flat")) == 3
    assert len(open_at(tmp_path / "flat", split="train[:2]")) == 2
    if recorded and recorded.startswith("test"):
        assert len(open_at(tmp_path / "flat", split="test")) == 3
    with pytest.raises(SplitNotFound):
        open_at(tmp_path / "flat", split="validation")


def test_saved_empty(tmp_path: Path, open_at: Open) -> None:
    """A dataset saved without rows, which datasets cannot load either, is told as that."""
    from datasets import Dataset

    Dataset.from_dict({"n": [1]}).select([]).save_to_disk(str(tmp_path / "flat"))
    with pytest.raises(DatasetDamaged, match="without rows"):
        open_at(tmp_path / "flat")


def test_no_rows(write: Callable[..., Path], open_at: Open, read: Read) -> None:
    """An Arrow file without rows opens, and has a fingerprint and columns."""
    backend = open_at(write("x.arrow", [pa.record_batch({"n": pa.array([], pa.int64())})]))
    assert (len(backend), backend.column_names, read(backend)) == (0, ["n"], [])
    assert read(backend, seed=1) == []
    assert len(backend.fingerprint) == 64


def test_saved_with_indices(saved: Path, open_at: Open) -> None:
    """A mapping of indices, which old versions saved, is refused rather than forgotten."""
    state = saved / "train" / "state.json"
    old = {**json.loads(state.read_text()), "_indices_data_files": [{"filename": "i.arrow"}]}
    state.write_text(json.dumps(old))
    with pytest.raises(DatasetDamaged, match="mapping of indices"):
        open_at(saved)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"_data_files": [{"filename": "no"}]}', '{"_data_files": [1]}']
)
def test_saved_damaged(saved: Path, open_at: Open, content: str, tmp_path: Path) -> None:
    """A state that is damaged or names missing files is told, without the folder."""
    (saved / "train" / "state.json").write_text(content)
    with pytest.raises(DatasetDamaged) as damaged:
        open_at(saved)
    assert str(tmp_path) not in damaged.value.message


def test_saved_refuses_other_arguments(saved: Path, open_at: Open) -> None:
    """Arguments that mean nothing for a saved dataset are refused, not ignored."""
    with pytest.raises(BadParameter):
        open_at(saved, data_files="x.json")
    with pytest.raises(BadParameter):
        open_at(saved, revision="main")


def test_folder_of_rows(rows_folder: Path, open_at: Open, read: Read) -> None:
    """Splits are told from file names, as datasets does; values are the same."""
    from datasets import load_dataset

    for split in ("train", "test", "train[5:7]"):
        expected = load_dataset(str(rows_folder), split=split)
        backend = open_at(rows_folder, split=split)
        assert read(backend) == expected.to_list()
        assert backend.features == expected.features.to_dict()


def test_prepared_once(rows_folder: Path, open_at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening prepared rows again asks nothing of datasets."""
    first = open_at(rows_folder)
    monkeypatch.setattr(prepare, "_builder", lambda *_: pytest.fail("prepared again"))
    assert open_at(rows_folder).fingerprint == first.fingerprint


@pytest.mark.parametrize("keep_time", [False, True])
def test_changed_source(rows_folder: Path, open_at: Open, read: Read, keep_time: bool) -> None:
    """A changed source makes the backend stale, and is prepared again on the next opening."""
    backend = open_at(rows_folder, split="test")
    source = rows_folder / "test.jsonl"
    before = source.stat()
    source.write_text('{"split": "new", "n": 7}')
    if keep_time:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert backend.is_stale()
    assert numbers(read(open_at(rows_folder, split="test"))) == [7]
    with pytest.raises(ContentChanged):
        read(backend)


def test_new_source(rows_folder: Path, open_at: Open) -> None:
    """A file that is added to the folder makes the backend stale."""
    backend = open_at(rows_folder)
    (rows_folder / "train-2.jsonl").write_text('{"split": "train", "n": 1}')
    assert backend.is_stale()
    assert len(open_at(rows_folder)) == 21


@pytest.mark.parametrize("kind", ["parquet", "csv", "txt", "json", "arrow"])
def test_single_files(tmp_path: Path, open_at: Open, read: Read, kind: str) -> None:
    """A file of rows, whatever its name, is the split ``train``."""
    from datasets import Dataset

    path = tmp_path / "files" / f"test [1] of it.{kind}"
    path.parent.mkdir()
    dataset = Dataset.from_dict({"n": [1, 2, 3]})
    if kind == "arrow":
        dataset.save_to_disk(str(tmp_path / "saved"))
        shutil.copy(tmp_path / "saved" / "data-00000-of-00001.arrow", path)
    elif kind == "txt":
        path.write_text("one\ntwo\nthree\n")
    else:
        getattr(dataset, f"to_{kind}")(str(path))
    expected = [{"text": text} for text in ("one", "two", "three")]
    if kind != "txt":
        expected = dataset.to_list()
    assert read(open_at(path)) == expected


def test_arrow_folder_is_served_in_place(
    write: Callable[..., Path], tmp_path: Path, open_at: Open, read: Read
) -> None:
    """Arrow files in a folder are read where they are, split by their names."""
    write("arrows/train-0.arrow", [{"n": [1, 2]}])
    write("arrows/train-1.arrow", [{"n": [3]}], is_file=True)
    write("arrows/test.arrow", [{"n": [4]}])
    assert numbers(read(open_at(tmp_path / "arrows"))) == [1, 2, 3]
    assert numbers(read(open_at(tmp_path / "arrows", split="test"))) == [4]
    copies = [path for path in tmp_path.rglob("*.arrow") if path.parent.name != "arrows"]
    assert copies == []


@pytest.mark.only_on("linux")
def test_snapshot_of_the_hub_cache(tmp_path: Path, open_at: Open, read: Read) -> None:
    """A snapshot folder, whose files are links to blobs without endings, is a folder of rows."""
    from datasets import Dataset

    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "abc" / "data").mkdir(parents=True)
    for split, numbers_of in (("train", [1, 2]), ("test", [3])):
        Dataset.from_dict({"n": numbers_of}).to_parquet(str(tmp_path / "blobs" / split))
        link = tmp_path / "snapshots" / "abc" / "data" / f"{split}-00000-of-00001.parquet"
        link.symlink_to(tmp_path / "blobs" / split)
    assert numbers(read(open_at(tmp_path / "snapshots" / "abc"))) == [1, 2]
    assert numbers(read(open_at(tmp_path / "snapshots" / "abc", split="test"))) == [3]


def test_data_files(rows_folder: Path, open_at: Open, read: Read) -> None:
    """Data files are patterns inside the folder, by split if so named."""
    assert len(open_at(rows_folder, data_files="te*.jsonl")) == 5
    backend = open_at(rows_folder, data_files={"dev": ["test.jsonl"]}, split="dev[:1]")
    assert numbers(read(backend)) == [0]


def test_spellings_share_a_copy(
    rows_folder: Path, open_at: Open, options: OpenOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data files that are the same files are prepared once, however they are spelled."""
    spellings: list[Any] = ["test.jsonl", "./test.jsonl", "././test.jsonl", "[t]est.jsonl"]
    spellings += ["t*t.jsonl", ["test.jsonl"], {"train": ["./test.jsonl"]}]
    prints = {open_at(rows_folder, data_files=spelling).fingerprint for spelling in spellings}
    assert len(prints) == 1
    assert len(list(options.index_folder.rglob("*.arrow"))) == 1
    assert len(open_at(rows_folder, data_files={"dev": "test.jsonl"}, split="dev")) == 5
    assert len(list(options.index_folder.rglob("*.arrow"))) == 2
    monkeypatch.setattr(prepare, "_builder", lambda *_: pytest.fail("asked datasets again"))
    assert {open_at(rows_folder, data_files=each).fingerprint for each in spellings} == prints


@pytest.mark.parametrize("data_files", [["test.jsonl"] * 3, ["*.jsonl", "./test.jsonl"]])
def test_a_file_twice_is_refused(rows_folder: Path, open_at: Open, data_files: list[str]) -> None:
    """Data files that name a file more than once in a split are refused, not copied again."""
    with pytest.raises(BadParameter, match="'test.jsonl'"):
        open_at(rows_folder, data_files=data_files)


@pytest.mark.parametrize("pattern", ["https://example.org/x.json", "hf://x", "zip://a::http://b"])
def test_urls_are_refused(rows_folder: Path, open_at: Open, pattern: str) -> None:
    """URLs among the data files are refused while downloads are off, in a dataset card too."""
    with pytest.raises(DataFilesRefused):
        open_at(rows_folder, data_files={"train": [pattern]})
    card = f"---\nconfigs:\n- config_name: default\n  data_files: '{pattern}'\n---\n"
    (rows_folder / "README.md").write_text(card)
    with pytest.raises(DataFilesRefused):
        open_at(rows_folder)


def test_card(rows_folder: Path, open_at: Open) -> None:
    """Configurations of a dataset card are those of the folder."""
    card = "---\nconfigs:\n- config_name: small\n  data_files: test.jsonl\n---\n"
    (rows_folder / "README.md").write_text(card)
    assert len(open_at(rows_folder, name="small")) == 5
    with pytest.raises(DatasetNotFound, match="large"):
        open_at(rows_folder, name="large")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [("x.parquet", "no parquet", DatasetDamaged), ("x.json", '{"a": ', DatasetDamaged)]
    + [("x.bin", "?", DatasetNotFound)],
)
def test_unreadable_folder(
    tmp_path: Path, open_at: Open, name: str, content: str, error: type[FdssError]
) -> None:
    """Files that are not what their names say are errors of ours, without the folder."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(error) as refused:
        open_at(folder)
    assert str(tmp_path) not in refused.value.message


def test_a_folder_with_a_space_is_not_told(tmp_path: Path, open_at: Open) -> None:
    """No part of a folder's place is told, even where spaces hide where it ends."""
    folder = tmp_path / "hidden place" / "inner"
    folder.mkdir(parents=True)
    with pytest.raises(DatasetNotFound) as missing:
        open_at(folder)
    assert "place" not in missing.value.message and "inner" not in missing.value.message


def test_nothing_there(tmp_path: Path, open_at: Open) -> None:
    """A path without anything is not found, and the path is not told."""
    with pytest.raises(DatasetNotFound) as missing:
        open_at(tmp_path / "none")
    assert str(tmp_path) not in missing.value.message


def test_bad_split_comes_first(tmp_path: Path, open_at: Open) -> None:
    """A split that cannot be parsed is refused before anything is looked for."""
    with pytest.raises(BadSplit):
        open_at(tmp_path / "none", split="train[")


def named(path: str, options: OpenOptions, **arguments: Any) -> ArrowBackend:
    """Return what a name opens."""
    return open_dataset(Named(path), LoadArguments(path, **arguments), options)


def test_builders(rows_folder: Path, options: OpenOptions) -> None:
    """Packaged builders are refused unless they are allowed."""
    file = str(rows_folder / "train.jsonl")
    with pytest.raises(BuilderRefused):
        named("json", options, data_files=file)
    allowed = OpenOptions(
        options.index_folder, options.datasets_cache, options.hub_cache, builders=True
    )
    backend = named("json", allowed, data_files=file)
    assert len(backend) == 20
    (rows_folder / "train.jsonl").write_text("{}")
    assert backend.is_stale()


def test_unknown_name(options: OpenOptions) -> None:
    """A name that nothing on this machine has is not found, without a look at the network."""
    with pytest.raises(DatasetNotFound, match="nobody/nothing"):
        named("nobody/nothing", options)


@pytest.mark.parametrize("path", ["../x", "a/b/c", "/etc", "", "a/..", "-x", "a b", "C:\\x"])
def test_no_hub_id(options: OpenOptions, path: str) -> None:
    """What is no Hub id is not looked for."""
    with pytest.raises(DatasetNotFound):
        named(path, options)


def test_name_of_a_folder(
    rows_folder: Path, options: OpenOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder where the process happens to run is not served under a Hub id."""
    monkeypatch.chdir(rows_folder.parent)
    with pytest.raises(DatasetNotFound):
        named(rows_folder.name, options)


def test_the_working_folder_makes_no_difference(
    tmp_path: Path, options: OpenOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that happens to have the name of a Hub id is not told apart from none."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").touch()
    monkeypatch.chdir(tmp_path)
    told = set()
    for downloads in (False, True):
        asked = replace(options, downloads=downloads)
        for path in ("etc/passwd", "etc/nobody"):
            with pytest.raises(DatasetNotFound) as missing:
                named(path, asked)
            words = f"{missing.value.message} {missing.value.hint}"
            assert "OfflineModeIsEnabled" not in words
            told.add((downloads, words.replace(path, "")))
    assert len(told) == 2


def test_a_name_that_is_not_cached(options: OpenOptions) -> None:
    """What helps with a name that is not in the cache is told: downloads, or ``local/``."""
    with pytest.raises(DatasetNotFound, match="is not in the cache, and downloads are off") as told:
        named("stories", options)
    assert "--allow-downloads" in told.value.hint and "local/stories" in told.value.hint


ONLINE = """
import datasets, pathlib, socket
def refuse(*arguments): raise SystemExit("network")
socket.getaddrinfo = refuse
from fdss.arguments import LoadArguments
from fdss.errors import DatasetNotFound
from fdss.storage import Named, OpenOptions, open_dataset
here = pathlib.Path("here")
try:
    open_dataset(Named("a/b"), LoadArguments("a/b"), OpenOptions(here, here, here))
except DatasetNotFound as error:
    print(error.hint)
"""


def test_online_process(
    monkeypatch: pytest.MonkeyPatch, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    """Where datasets was imported online, downloads that are off stay off."""
    script = tmp_path / "online.py"
    script.write_text(
        "import os\nos.environ['HF_HUB_OFFLINE'] = '0'\n"
        "os.environ['HF_DATASETS_OFFLINE'] = '0'\n" + ONLINE
    )
    assert "allow downloads" in run_python(str(script)).stdout
