"""What is there: the HF datasets cache, and one folder, as JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from fdss import places
from fdss.errors import FdssError
from fdss.rows import features_of

from .contents import CONTENT_ERRORS
from .hub_cache import Preparation, preparations
from .index import index_path, load_index
from .messages import messages
from .prepared import INFO_NAME, Found, prepared_splits, read_info
from .saved import DICT_NAME, STATE_NAME, saved_splits
from .schemas import read_schema
from .stamps import Stamp, stamps_of

Json = dict[str, Any]


def cached_datasets(root: Path) -> Json:
    """Return the datasets prepared in an HF datasets cache.

    What cannot be read is left out. Folders that did not change since the last call are not
    looked through again.

    Args:
        root: Root of the cache; it need not exist.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        names = []
    found = [_repository(root / name) for name in names if not name.endswith(".lock")]
    shown_root = os.fsencode(root).decode("utf-8", "replace")
    return {"cache_root": shown_root, "datasets": [entry for entry in found if entry]}


def describe_folder(path: Path, index_folder: Path | None = None) -> Json:
    """Return what a folder or file holds: layout, splits, features, sizes.

    Rows of saved datasets are counted through their index, or else by a walk over their files
    that is remembered until they change. Nothing is prepared for it, and nothing raised: a folder
    that cannot be read has no splits.

    Args:
        index_folder: Where indexes are kept; the user's folder of indexes if None.
    """
    layout = _layout(path)
    described: Json = {"layout": layout, "splits": [], "size_bytes": _size_bytes(path)}
    if layout in ("dataset", "dataset_dict"):
        try:
            contents = _contents(path, index_folder or places.index_folder())
            _check_carriable(contents)
            described.update(contents)
        except (FdssError, *CONTENT_ERRORS):
            described["layout"] = "unknown"
    described["meta_hash"] = meta_hash(described.get("features", {}), described["splits"])
    return described


def meta_hash(features: Iterable[str], splits: Iterable[Any]) -> str:
    """Return 16 hex digits of the set of feature names and the set of splits and their rows."""
    counted = {
        (str(split.get("name")), split.get("num_examples"))
        for split in splits
        if isinstance(split, Mapping)
    }
    canonical = [sorted(features or ()), sorted(counted, key=str)]
    return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()[:16]


def _repository(folder: Path) -> Json | None:
    latest: dict[tuple[str, str], list[Preparation]] = {}
    for found in preparations(folder):
        latest.setdefault((found.config, found.version), []).append(found)
    configs = [entry for found in latest.values() if (entry := _config(found))]
    if not configs:
        return None
    size = sum(config["size_bytes"] for config in configs)
    told = {"repo": folder.name.replace("___", "/", 1), "configs": configs, "size_bytes": size}
    try:
        _check_carriable(told)
    except TypeError:
        return None
    return told


def _check_carriable(told: Json) -> None:
    """Raise TypeError if JSON cannot carry it: names that are no text, numbers of over 64 bits."""
    orjson.dumps(told)


def _config(found: list[Preparation]) -> Json | None:
    newest = max(found, key=lambda entry: entry.mtime_ns)
    splits = newest.info.get("splits")
    told = splits if isinstance(splits, dict) else {}
    return {
        "config": newest.config,
        "version": newest.version,
        "splits": [_split(name, split) for name, split in told.items()],
        "size_bytes": sum(_arrow_bytes(entry.folder) for entry in found),
    }


def _split(name: str, told: Any) -> Json:
    known = told if isinstance(told, dict) else {}
    return {
        "name": name,
        "num_examples": known.get("num_examples"),
        "num_bytes": known.get("num_bytes"),
    }


def _arrow_bytes(folder: Path) -> int:
    try:
        return _arrow_bytes_at(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return 0


@lru_cache(65_536)
def _arrow_bytes_at(folder: str, mtime_ns: int) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries if entry.name.endswith(".arrow"))


def _layout(path: Path) -> str:
    # Those of os.path tell of no file where there is no leave to look; those of Path raise.
    if not os.path.exists(path):
        return "missing"
    if os.path.isfile(path / DICT_NAME):
        return "dataset_dict"
    if os.path.isfile(path / STATE_NAME) or os.path.isfile(path / INFO_NAME):
        return "dataset"
    return "unknown"


def _contents(path: Path, index_folder: Path) -> Json:
    is_prepared = not (path / STATE_NAME).is_file() and not (path / DICT_NAME).is_file()
    info = read_info(path)
    found = prepared_splits(path, info, path.name) if is_prepared else saved_splits(path)
    first = next(iter(found.splits.values()))[0]
    if not info:
        info = read_info(first.parent)
    described: Json = {
        "splits": _counted_splits(found, index_folder / "batches"),
        "features": features_of(_schema(first)),
    }
    for field in ("config_name", "dataset_name"):
        if info.get(field):
            described[field] = info[field]
    return described


def _counted_splits(found: Found, index_folder: Path) -> list[Json]:
    # A saved dataset answers to two names; it is told once, by the name it was saved from.
    names = {files: name for name, files in found.splits.items()}
    return [
        {
            "name": name,
            "num_examples": _count_rows(files, index_folder),
            "num_bytes": sum(file.stat().st_size for file in files),
        }
        for files, name in names.items()
    ]


def _count_rows(paths: Sequence[Path], folder: Path) -> int:
    """Return the rows of some Arrow files: from their index if there is one, else by a walk."""
    stamps = stamps_of(paths)
    kept = load_index(index_path(folder, stamps), stamps)
    return kept.rows if kept else sum(_rows_of(stamp) for stamp in stamps)


@lru_cache(65_536)
def _rows_of(stamp: Stamp) -> int:
    return sum(message.rows for message in messages(Path(stamp.path)))


def _schema(file: Path) -> pa.Schema:
    message = next(messages(file))
    with file.open("rb") as opened:
        opened.seek(message.offset)
        return read_schema(opened.read(message.length))


def _size_bytes(path: Path) -> int:
    total = 0
    if os.path.isfile(path):
        with contextlib.suppress(OSError):
            total = path.stat().st_size
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total
