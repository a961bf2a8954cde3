"""Datasets that ``datasets`` has to prepare first: the only module of storage that imports it.

What comes from files of this machine is prepared without the network. What comes from the Hub is
touched only if downloads are allowed, or if both ``datasets`` and ``huggingface_hub`` are switched
offline: they read their switches once, when they are imported, so that setting the environment
now would be a promise not kept.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from fdss.arguments import DataFiles, LoadArguments
from fdss.errors import (
    BuilderRefused,
    DataFilesRefused,
    DatasetDamaged,
    DatasetNotFound,
    FdssError,
)

from .options import OpenOptions
from .prepared import Found, prepared_splits, read_info
from .stamps import Sources, paths_key

_LOG = logging.getLogger(__name__)
_NOTE_NAME = "prepared.json"
_CARDS = ("README.md", ".huggingface.yaml")
_FOLDER_IN_TEXT = re.compile(r"(?<![\w:/])(?:[A-Za-z]:)?[\\/](?:[^\s'\",:;\\/]+[\\/])+")
_MAX_REASON = 300


def is_offline() -> bool:
    """Tell whether ``datasets`` and ``huggingface_hub`` are switched offline in this process."""
    import datasets.config
    import huggingface_hub.constants

    return bool(datasets.config.HF_HUB_OFFLINE and huggingface_hub.constants.HF_HUB_OFFLINE)


def is_builder(name: str) -> bool:
    """Tell whether a name is that of a builder that comes with ``datasets``."""
    if not name.isidentifier():
        return False
    return importlib.util.find_spec(f"datasets.packaged_modules.{name}") is not None


def prepare_named(arguments: LoadArguments, options: OpenOptions) -> Found:
    """Return the files of a dataset of the Hub, or of a packaged builder, after preparing it.

    Raises:
        BuilderRefused: The name is a builder's and ``options.builders`` is off.
        DataFilesRefused: ``data_files`` is a URL and downloads are off.
        DatasetNotFound: It is not on this machine and downloads are off, or it is not on the Hub.
        DatasetDamaged: It cannot be prepared.
    """
    path = arguments.path
    if is_builder(path) and not options.builders:
        raise BuilderRefused(f"{path!r} is the name of a packaged builder, not of a dataset.")
    _refuse_urls(arguments.data_files, options)
    if os.path.exists(path):
        # For ``datasets`` a folder of that name, wherever the process happens to run, comes first.
        raise DatasetNotFound(f"Dataset {path!r} is not prepared in the cache of this machine.")
    if not options.downloads and not is_offline():
        raise DatasetNotFound(
            f"Dataset {path!r} is not prepared in the cache of this machine, and downloads are "
            "off.",
            hint="prepare it with datasets.load_dataset, or set HF_HUB_OFFLINE=1 before the start "
            "to use what the hub cache holds, or allow downloads",
        )
    with _explained(path):
        builder = _builder(path, arguments, options.datasets_cache)
        _refuse_other_revision(builder, arguments)
        builder.download_and_prepare(num_proc=options.num_proc)
    files = [file for split in _local_files(builder).values() for file in split]
    found = _prepared(Path(builder.cache_dir), path)
    return replace(found, sources=Sources.of(files) if files and is_builder(path) else None)


def prepare_folder(folder: Path, arguments: LoadArguments, options: OpenOptions) -> Found:
    """Return the Arrow files of a folder or file of rows, after preparing them if need be.

    Splits are told from the names of files and folders, or from a dataset card, as ``datasets``
    does. Arrow files are served where they are. A prepared copy is used again as long as no file
    of the folder changed.

    Raises:
        DataFilesRefused: A URL is among the data files and downloads are off.
        DatasetNotFound: There are no files of rows.
        DatasetDamaged: They cannot be prepared.
    """
    _refuse_urls(arguments.data_files, options)
    sources = Sources.of([folder])
    asked = json.dumps([arguments.name, arguments.data_files], sort_keys=True)
    home = options.index_folder / "prepared" / paths_key([str(folder), asked])
    kept = _kept(home / sources.key, sources)
    if kept is not None and not options.force_reindex:
        return kept
    root = folder.parent if folder.is_file() else folder
    data_files = glob.escape(folder.name) if folder.is_file() else arguments.data_files
    _refuse_urls(_card_files(root), options)
    told = LoadArguments(str(root), arguments.name, data_files=data_files)
    with _explained(arguments.path):
        builder = _builder(str(root), told, home / sources.key)
        files = _local_files(builder)
        if _is_arrow(files):
            return Found(files)
        builder.download_and_prepare(num_proc=options.num_proc, verification_mode="no_checks")
    _drop_older(home, sources.key)
    _keep(home / sources.key, Path(builder.cache_dir), builder.dataset_name)
    return replace(_prepared(Path(builder.cache_dir), builder.dataset_name), sources=sources)


def _builder(path: str, arguments: LoadArguments, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset_builder(
        path,
        arguments.name,
        data_files=arguments.data_files,
        revision=arguments.revision,
        cache_dir=str(cache),
    )


def _refuse_other_revision(builder: Any, arguments: LoadArguments) -> None:
    """Refuse what ``datasets`` falls back to when it cannot reach the Hub: any revision it has."""
    from datasets.packaged_modules.cache.cache import Cache

    if arguments.revision is not None and isinstance(builder, Cache):
        raise DatasetNotFound(
            f"Revision {arguments.revision!r} of dataset {arguments.path!r} is not on this "
            "machine.",
            hint="prepare that revision with datasets.load_dataset, or ask for one that is here",
        )


def _local_files(builder: Any) -> dict[str, tuple[Path, ...]]:
    """Return the files that a builder reads, by split; none if it reads others than files."""
    told = getattr(builder.config, "data_files", None) or {}
    files = {str(split): tuple(Path(str(file)) for file in found) for split, found in told.items()}
    return files if all(file.is_file() for split in files.values() for file in split) else {}


def _is_arrow(files: Mapping[str, tuple[Path, ...]]) -> bool:
    return bool(files) and all(
        file.suffix == ".arrow" for split in files.values() for file in split
    )


def _prepared(folder: Path, name: str) -> Found:
    return prepared_splits(folder, read_info(folder), name)


def _kept(home: Path, sources: Sources) -> Found | None:
    """Return what an earlier call prepared from the same sources."""
    try:
        note = json.loads((home / _NOTE_NAME).read_bytes())
        return replace(_prepared(home / note["folder"], note["name"]), sources=sources)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(home: Path, folder: Path, name: str) -> None:
    note = json.dumps({"folder": os.path.relpath(folder, home), "name": name})
    handle, partial = tempfile.mkstemp(suffix=".partial", dir=home)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(note)
    os.replace(partial, home / _NOTE_NAME)


def _drop_older(home: Path, key: str) -> None:
    for other in home.iterdir():
        if other.name != key:
            shutil.rmtree(other, ignore_errors=True)


def _refuse_urls(data_files: DataFiles | None, options: OpenOptions) -> None:
    if options.downloads:
        return
    for pattern in _strings(data_files):
        if "://" in pattern or "::" in pattern:
            raise DataFilesRefused(
                f"Data file {pattern!r} is no file of this machine, and downloads are off.",
                hint="name files of this machine, or allow downloads",
            )


def _card_files(folder: Path) -> Any:
    """Return every string of the dataset card that ``datasets`` may take for a data file."""
    found = []
    for name in _CARDS:
        try:
            text = (folder / name).read_text("utf-8")
            head = text.split("---")[1] if name.endswith(".md") and "---" in text else text
            told = yaml.safe_load(head) if not name.endswith(".md") or "---" in text else None
        except (OSError, UnicodeError, yaml.YAMLError):
            continue
        if isinstance(told, dict):
            found.append(told.get("configs"))
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what ``datasets`` raises into errors of ours, without the folders of this machine."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except FdssError:
        raise
    except FileNotFoundError as exc:
        raise DatasetNotFound(f"Dataset {path!r} cannot be found: {_reason(exc)}") from exc
    except (DatasetsError, pa.ArrowException) as exc:
        raise DatasetDamaged(f"Dataset {path!r} cannot be prepared: {_reason(exc)}") from exc
    except (OSError, ValueError, RuntimeError, TypeError, ImportError) as exc:
        raise DatasetNotFound(f"Dataset {path!r} cannot be had: {_reason(exc)}") from exc


def _reason(exc: BaseException) -> str:
    _LOG.warning("datasets: %s: %s", type(exc).__name__, exc)
    cause = exc.__cause__ or exc
    first = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return _FOLDER_IN_TEXT.sub("", first)[:_MAX_REASON]
