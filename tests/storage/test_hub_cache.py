"""Datasets prepared in the HF cache are found by its folders alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdss.arguments import LoadArguments
from fdss.errors import DatasetDamaged, DatasetNotFound
from fdss.storage import ArrowBackend, Named, OpenOptions, cached_datasets, open_dataset
from fdss.storage.hub_cache import cache_name
from fdss.storage.prepared import snake_case

OLD, NEW, OTHER = ("a1" * 20, "b2" * 20, "b2b3" * 10)

Prepare = Callable[..., Path]


@pytest.fixture
def prepare(tmp_path: Path, options: OpenOptions) -> Prepare:
    """Return a call that prepares rows with datasets and moves them to where a Hub id has them."""
    from datasets import load_dataset

    def prepared(
        path: str, rows: int, config: str = "default", commit: str = NEW, mtime_s: int = 1000
    ) -> Path:
        source = tmp_path / f"{rows}.jsonl"
        source.write_text("\n".join(json.dumps({"n": n}) for n in range(rows)))
        files = {"train": str(source), "test": str(source)}
        cache = tmp_path / "made" / f"{rows}-{config}-{commit}"
        dataset = load_dataset("json", data_files=files, cache_dir=str(cache))
        made = Path(dataset["train"].cache_files[0]["filename"]).parent
        folder = options.datasets_cache / cache_name(path) / config / "0.0.0" / commit
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, folder)
        info = json.loads((folder / "dataset_info.json").read_text())
        name = snake_case(path.split("/")[-1])
        info.update(config_name=config, dataset_name=name)
        for split in info["splits"].values():
            split["dataset_name"] = name
        (folder / "dataset_info.json").write_text(json.dumps(info))
        for split in files:
            (folder / f"json-{split}.arrow").rename(folder / f"{name}-{split}.arrow")
        os.utime(folder / "dataset_info.json", (mtime_s, mtime_s))
        return folder

    return prepared


@pytest.fixture
def opened(options: OpenOptions) -> Callable[..., ArrowBackend]:
    """Return a call that opens a Hub id."""
    return lambda path, **arguments: open_dataset(
        Named(path), LoadArguments(path, **arguments), options
    )


def set_ref(options: OpenOptions, path: str, ref: str, commit: str) -> None:
    """Note the commit of a branch, as the hub cache does."""
    file = options.hub_cache / f"datasets--{path.replace('/', '--')}" / "refs" / ref
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(commit)


@pytest.mark.parametrize("path", ["squad", "org/Name", "Org/FineWeb-Edu", "a/ABCDef.v1"])
def test_names(prepare: Prepare, opened: Callable[..., ArrowBackend], path: str) -> None:
    """Hub ids with and without a namespace, in any case, are found where datasets puts them."""
    from datasets.naming import camelcase_to_snakecase

    folder = prepare(path, 5)
    assert camelcase_to_snakecase(path.split("/")[-1]) in folder.parents[2].name
    assert len(opened(path)) == 5
    assert len(opened(path, split="test[:2]")) == 2


def test_without_datasets(
    prepare: Prepare, options: OpenOptions, run_python: Callable[..., Any]
) -> None:
    """Prepared rows are opened and read without importing datasets."""
    prepare("org/name", 5)
    code = (
        "import pathlib, sys; from fdss.arguments import LoadArguments;"
        "from fdss.storage import Named, OpenOptions, open_dataset;"
        "options = OpenOptions(*map(pathlib.Path, sys.argv[1:]));"
        "backend = open_dataset(Named('org/name'), LoadArguments('org/name'), options);"
        "print(len(backend), 'datasets' in sys.modules)"
    )
    folders = (options.index_folder, options.datasets_cache, options.hub_cache)
    found: subprocess.CompletedProcess[str] = run_python("-c", code, *map(str, folders))
    assert found.stdout.split() == ["5", "False"]


def test_old_layout(prepare: Prepare, opened: Callable[..., ArrowBackend]) -> None:
    """Caches from before there were folders for hashes are read as well."""
    folder = prepare("org/name", 5)
    for file in list(folder.iterdir()):
        file.rename(folder.parent / file.name)
    folder.rmdir()
    assert len(opened("org/name")) == 5


def test_shards(prepare: Prepare, opened: Callable[..., ArrowBackend]) -> None:
    """A split of several files is read in the order of its shards."""
    folder = prepare("org/name", 5)
    whole = folder / "name-train.arrow"
    for number in range(2):
        shutil.copy(whole, folder / f"name-train-0000{number}-of-00002.arrow")
    whole.unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"]["train"]["shard_lengths"] = [5, 5]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert len(opened("org/name")) == 10
    (folder / "name-train-00001-of-00002.arrow").unlink()
    with pytest.raises(DatasetDamaged, match="'name-train-00001-of-00002.arrow'"):
        opened("org/name")


def test_configurations(prepare: Prepare, opened: Callable[..., ArrowBackend]) -> None:
    """The only configuration is meant, or ``default``; else the choice is told."""
    prepare("org/name", 3, "en")
    assert len(opened("org/name")) == 3
    prepare("org/name", 4, "de")
    assert len(opened("org/name", name="de")) == 4
    with pytest.raises(DatasetNotFound, match="de, en"):
        opened("org/name")
    prepare("org/name", 5, "default")
    assert len(opened("org/name")) == 5
    with pytest.raises(DatasetNotFound):
        opened("org/name", name="fr")


def test_latest(
    prepare: Prepare, opened: Callable[..., ArrowBackend], options: OpenOptions
) -> None:
    """Without a revision the commit of main is meant if it is prepared, else the latest."""
    prepare("org/name", 3, commit=OLD, mtime_s=1000)
    prepare("org/name", 4, commit=NEW, mtime_s=2000)
    assert len(opened("org/name")) == 4
    set_ref(options, "org/name", "main", OLD)
    assert len(opened("org/name")) == 3
    set_ref(options, "org/name", "main", "c" * 40)
    assert len(opened("org/name")) == 4


def test_revisions(
    prepare: Prepare, opened: Callable[..., ArrowBackend], options: OpenOptions
) -> None:
    """A revision is a commit, the unique beginning of one, a branch or a tag."""
    for rows, commit in ((3, OLD), (4, NEW), (5, OTHER)):
        prepare("org/name", rows, commit=commit, mtime_s=rows)
    set_ref(options, "org/name", "v1.0", OLD)
    set_ref(options, "org/name", "refs/convert/parquet", NEW)
    lengths = [
        (OLD, 3),
        (OLD[:7], 3),
        ("v1.0", 3),
        (NEW, 4),
        ("refs/convert/parquet", 4),
        (OTHER[:12], 5),
    ]
    for revision, rows in lengths:
        assert len(opened("org/name", revision=revision)) == rows
    for revision in ("c" * 40, "v2", "../main", "a", OLD.upper()):
        with pytest.raises(DatasetNotFound):
            opened("org/name", revision=revision)


def test_ambiguous_revision(prepare: Prepare, opened: Callable[..., ArrowBackend]) -> None:
    """The beginning of two commits is refused."""
    prepare("org/name", 4, commit="abcdef" + "0" * 34)
    prepare("org/name", 5, commit="abcdef" + "1" * 34)
    with pytest.raises(DatasetNotFound, match="several"):
        opened("org/name", revision="abcdef")


def test_unfinished(prepare: Prepare, opened: Callable[..., ArrowBackend]) -> None:
    """Folders that are being prepared, and configurations of other arguments, do not count."""
    prepare("org/name", 3)
    unfinished = prepare("org/name", 4, commit=OLD, mtime_s=9000)
    unfinished.rename(unfinished.with_name(f"{OLD}.incomplete"))
    others = prepare("org/name", 5, "default-0123456789abcdef", mtime_s=9999)
    info = json.loads((others / "dataset_info.json").read_text())
    (others / "dataset_info.json").write_text(json.dumps({**info, "config_name": "default"}))
    assert len(opened("org/name")) == 3


def test_listing(prepare: Prepare, options: OpenOptions) -> None:
    """The listing tells each repository, configuration and split, with sizes."""
    folder = prepare("org/name", 3, "en")
    prepare("org/name", 4, "de")
    prepare("squad", 5)
    listed = cached_datasets(options.datasets_cache)
    assert listed["cache_root"] == str(options.datasets_cache)
    assert [entry["repo"] for entry in listed["datasets"]] == ["org/name", "squad"]
    german, english = listed["datasets"][0]["configs"]
    assert (german["config"], english["config"], english["version"]) == ("de", "en", "0.0.0")
    size = sum(file.stat().st_size for file in folder.glob("*.arrow"))
    assert english["size_bytes"] == size
    assert listed["datasets"][0]["size_bytes"] == size + german["size_bytes"]
    for split in english["splits"]:
        assert (split["num_examples"], set(split)) == (3, {"name", "num_examples", "num_bytes"})


def test_listing_of_odd_folders(tmp_path: Path) -> None:
    """Odd folders are passed over, and a cache that is not there is empty."""
    for path in ("a___b/c/0.0.0/h", "x.lock", "downloads/extracted", "___/_/_", "n/c/v/h"):
        (tmp_path / "cache" / path).mkdir(parents=True)
    (tmp_path / "cache" / "file").write_text("")
    for path, content in (("a___b/c/0.0.0/h", "{"), ("___/_/_", "[]"), ("n/c/v/h", '"x"')):
        (tmp_path / "cache" / path / "dataset_info.json").write_text(content)
    assert cached_datasets(tmp_path / "cache")["datasets"] == []
    odd = tmp_path / "cache" / "n/c/v/h/dataset_info.json"
    odd.write_text('{"config_name": "c", "splits": [1]}')
    [entry] = cached_datasets(tmp_path / "cache")["datasets"]
    assert entry["configs"][0]["splits"] == []
    assert cached_datasets(tmp_path / "none")["datasets"] == []


def test_listing_twice(
    prepare: Prepare, options: OpenOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second listing looks at no file of folders that did not change."""
    folder = prepare("org/name", 3)
    first = cached_datasets(options.datasets_cache)
    scanned: list[str] = []
    scan = os.scandir

    def counted(path: Any) -> Any:
        scanned.append(str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", counted)
    assert cached_datasets(options.datasets_cache) == first
    assert str(folder) not in scanned
    (folder / "more.arrow").write_bytes(bytes(1000))
    assert cached_datasets(options.datasets_cache)["datasets"][0]["size_bytes"] == (
        first["datasets"][0]["size_bytes"] + 1000
    )
