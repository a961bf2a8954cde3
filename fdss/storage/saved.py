"""Folders that ``Dataset.save_to_disk`` and ``DatasetDict.save_to_disk`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fdss.arguments import DEFAULT_SPLIT
from fdss.errors import BadSplit, DatasetDamaged
from fdss.splits import parse_split

from .contents import damage_told, json_object
from .prepared import Found

STATE_NAME = "state.json"
DICT_NAME = "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Tell whether ``save_to_disk`` wrote a folder."""
    return (folder / STATE_NAME).is_file() or (folder / DICT_NAME).is_file()


def saved_splits(folder: Path) -> Found:
    """Return the files of every split of a saved folder.

    A saved ``Dataset`` is the split ``train`` as well as the one it was saved from. How many rows
    were saved is not recorded: the counts in its ``dataset_info.json`` are those of the dataset
    that it was selected or filtered from.

    Raises:
        DatasetDamaged: A file that the folder tells of is missing or cannot be read.
    """
    if (folder / DICT_NAME).is_file():
        names = _json(folder / DICT_NAME).get("splits")
        if not isinstance(names, list) or not names:
            raise DatasetDamaged(f"File {DICT_NAME!r} of the dataset tells no splits.")
        splits = {str(name): _files(folder / Path(str(name)).name)[0] for name in names}
        return Found(splits, is_ended=True)
    files, recorded = _files(folder)
    return Found({DEFAULT_SPLIT: files, _base_name(recorded): files}, is_ended=True)


def _files(folder: Path) -> tuple[tuple[Path, ...], str]:
    state = _json(folder / STATE_NAME)
    if state.get("_indices_data_files"):
        raise DatasetDamaged(
            "The dataset was saved with a mapping of indices, which only old versions of "
            "datasets wrote.",
            hint="load it with datasets, call flatten_indices() and save it again",
        )
    with damage_told(f"File {STATE_NAME!r} of the dataset tells no files."):
        told = [str(entry["filename"]) for entry in state.get("_data_files") or []]
        files = tuple(folder / Path(name).name for name in told)
        absent = [file.name for file in files if not file.is_file()]
    if not files:
        raise DatasetDamaged("The dataset was saved without rows, and so without a file.")
    if absent:
        raise DatasetDamaged(f"File {absent[0]!r} of the dataset is missing.")
    return files, str(state.get("_split") or DEFAULT_SPLIT)


def _base_name(recorded: str) -> str:
    """Return the split that a saved dataset was the whole or a part of."""
    try:
        parts = parse_split(recorded)
    except BadSplit:
        return DEFAULT_SPLIT
    return parts[0].name if len(parts) == 1 else DEFAULT_SPLIT


def _json(path: Path) -> dict[str, Any]:
    try:
        return json_object(path)
    except FileNotFoundError as exc:
        raise DatasetDamaged(f"File {path.name!r} of the dataset is missing.") from exc
