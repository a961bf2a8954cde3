"""Datasets that ``datasets`` has to prepare first; nothing else of storage calls it.

What comes from files of this machine is prepared without the network. What comes from the Hub is
touched only if downloads are allowed, or if both ``datasets`` and ``huggingface_hub`` are switched
offline: they read their switches once, when they are imported, so that setting the environment
now would be a promise not kept.
"""

from __future__ import annotations

import glob
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdss.arguments import DataFiles, LoadArguments
from fdss.errors import (
    BadParameter,
    BuilderRefused,
    DataFilesRefused,
    DatasetNotFound,
)
from fdss.files import write_whole

from .cards import check_cards, check_places
from .copies import (
    drop_older,
    drop_unused,
    keep_copy,
    kept_copy,
    meaning_of,
    note_name,
    prepared_at,
)
from .hub_cache import cache_name, repository_name
from .options import OpenOptions
from .prepared import Found
from .reasons import explained, not_had
from .stamps import Sources, paths_key


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
    # Before anything is looked for: what takes long tells that something is there.
    if not (options.downloads or is_builder(path) or _is_cached(path, options)):
        raise not_had(path, options)
    # For ``datasets`` a folder of that name, wherever the process happens to run, comes first.
    if os.path.exists(path) or not (options.downloads or is_offline()):
        raise not_had(path, options)
    with explained(path, options):
        builder = _builder(path, arguments, options.datasets_cache)
        _refuse_other_revision(builder, arguments)
        if not (options.builders or is_builder(path)):
            check_places(builder, [options.datasets_cache, options.hub_cache], path)
        builder.download_and_prepare(num_proc=options.num_proc)
    files = [file for split in _local_files(builder).values() for file in split]
    found = prepared_at(Path(builder.cache_dir), path)
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
    home = options.index_folder / "prepared" / paths_key([str(folder)]) / sources.key
    # A copy that was made where files from anywhere were allowed answers no other question.
    anywhere = ["anywhere"] if options.builders else []
    asked = home / note_name([arguments.name, arguments.data_files, *anywhere])
    kept = None if options.force_reindex else kept_copy(asked, sources)
    if kept is not None:
        return kept
    root = folder.parent if folder.is_file() else folder
    data_files = glob.escape(folder.name) if folder.is_file() else arguments.data_files
    check_cards(root, options)
    told = LoadArguments(str(root), arguments.name, data_files=data_files)
    with explained(arguments.path, options, root):
        builder = _builder(str(root), told, home)
        if not options.builders:
            check_places(builder, [root], arguments.path)
        files = _local_files(builder)
        _check_repeated(files, arguments.path)
        if _is_arrow(files):
            return Found(files)
        # Patterns are spelled in many ways; a copy is made for what they come to.
        same = home / note_name(meaning_of(builder, files))
        found = None if options.force_reindex else kept_copy(same, sources)
        if found is None:
            builder.download_and_prepare(num_proc=options.num_proc, verification_mode="no_checks")
            keep_copy(same, Path(builder.cache_dir), builder.dataset_name)
            found = replace(
                prepared_at(Path(builder.cache_dir), builder.dataset_name), sources=sources
            )
    drop_older(home)
    note = same.read_bytes()
    with explained(arguments.path, options, root):
        write_whole(asked, [note])
    drop_unused(home, options.max_copies)
    return found


def _is_cached(path: str, options: OpenOptions) -> bool:
    homes = options.datasets_cache / cache_name(path), options.hub_cache / repository_name(path)
    return any(home.is_dir() for home in homes)


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


def _check_repeated(files: Mapping[str, tuple[Path, ...]], path: str) -> None:
    """Refuse files that a split is to hold twice: each time costs the disk a copy of its rows."""
    for split, found in files.items():
        counts = Counter(os.path.abspath(file) for file in found)
        for file, count in counts.most_common(1):
            if count > 1:
                raise BadParameter(
                    f"Data files of split {split!r} of dataset {path!r} name the file "
                    f"{os.path.basename(file)!r} {count:,} times.",
                    hint="name each file once",
                )


def _refuse_urls(data_files: DataFiles | None, options: OpenOptions) -> None:
    if options.downloads:
        return
    for pattern in _strings(data_files):
        if "://" in pattern or "::" in pattern:
            raise DataFilesRefused(
                f"Data file {pattern!r} is no file of this machine, and downloads are off.",
                hint="name files of this machine, or allow downloads",
            )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
