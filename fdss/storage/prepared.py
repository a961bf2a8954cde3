"""Prepared datasets: folders of Arrow files with a ``dataset_info.json``, as ``datasets`` keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss.errors import DatasetDamaged

from .contents import damage_told, json_object
from .roots import MediaRoots
from .stamps import Sources

INFO_NAME = "dataset_info.json"

_RUN_OF_CAPITALS = re.compile(r"([A-Z]+)([A-Z][a-z])")
_CAPITAL_INSIDE = re.compile(r"([a-z\d])([A-Z])")


@dataclass(frozen=True)
class Found:
    """The Arrow files of a dataset.

    Attributes:
        splits: Files of each split, in the order of their rows.
        sources: The files it was prepared from; None if it is served as it was found.
        rows: Rows of each split, as far as the writer told them reliably.
        is_ended: Whether the writer ends every stream with the marker that Arrow has for it.
        roots: Where media files that rows name may be read.
    """

    splits: Mapping[str, tuple[Path, ...]]
    sources: Sources | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    is_ended: bool = False
    roots: MediaRoots = MediaRoots()


def read_info(folder: Path) -> dict[str, Any]:
    """Return what ``dataset_info.json`` of a folder says; nothing where there is none.

    Raises:
        DatasetDamaged: It is not a JSON object.
    """
    try:
        return json_object(folder / INFO_NAME)
    except FileNotFoundError:
        return {}


def prepared_splits(folder: Path, info: Mapping[str, Any], name: str) -> Found:
    """Return the files of every split of a prepared folder.

    Args:
        info: Its ``dataset_info.json``.
        name: Name of the dataset, for folders that do not tell it.

    Raises:
        DatasetDamaged: The folder tells no splits, or a file is missing.
    """
    splits = info.get("splits")
    if not isinstance(splits, dict) or not splits:
        raise DatasetDamaged(f"File {INFO_NAME!r} of dataset {name!r} tells no splits.")
    names = [info.get("dataset_name"), info.get("builder_name"), name]
    with damage_told(f"File {INFO_NAME!r} of dataset {name!r} tells odd splits."):
        files = {split: _files(folder, split, told, names) for split, told in splits.items()}
        rows = {split: count for split, told in splits.items() if (count := _told_rows(told))}
    return Found(files, rows=rows, is_ended=True)


def snake_case(name: str) -> str:
    """Return a name as ``datasets`` writes it in folders and files: CamelCase to camel_case."""
    return _CAPITAL_INSIDE.sub(r"\1_\2", _RUN_OF_CAPITALS.sub(r"\1_\2", name)).lower()


def _told_rows(told: Any) -> int:
    """Return the rows that a split is told to have; 0 if that is not told, or in two ways."""
    known = told if isinstance(told, dict) else {}
    counts = _counts([known.get("num_examples")])
    lengths = known.get("shard_lengths")
    shards = _counts(lengths if isinstance(lengths, list) else [])
    if counts and shards and sum(shards) != sum(counts):
        return 0
    return sum(counts) or sum(shards)


def _counts(told: list[Any]) -> list[int]:
    return [count for count in told if isinstance(count, int) and count > 0]


def _files(folder: Path, split: str, told: Any, names: list[Any]) -> tuple[Path, ...]:
    known = told if isinstance(told, dict) else {}
    lengths = known.get("shard_lengths")
    shards = len(lengths) if isinstance(lengths, list) and lengths else 1
    ends = [""] if shards == 1 else [f"-{n:05d}-of-{shards:05d}" for n in range(shards)]
    missing = ""
    for name in (known.get("dataset_name"), *names):
        if not isinstance(name, str):
            continue
        stem = f"{snake_case(Path(name).name)}-{Path(split).name}"
        files = tuple(folder / f"{stem}{end}.arrow" for end in ends)
        absent = [file.name for file in files if not file.is_file()]
        if not absent:
            return files
        missing = missing or absent[0]
    raise DatasetDamaged(
        f"Split {split!r} is prepared, but its file {missing!r} is missing.",
        hint="delete the folder of the prepared dataset and prepare it again",
    )
