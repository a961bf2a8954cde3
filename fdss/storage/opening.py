"""Open a dataset: find its Arrow files, their index, and the rows that the split means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter, BadSplit, DatasetDamaged, DatasetNotFound, SplitNotFound
from fdss.splits import ALL_SPLITS, SplitPart, parse_split, resolve_split

from .arrow import ArrowBackend
from .fingerprint import fingerprint_of_table
from .hub_cache import cache_name, find_prepared, repository_name
from .options import Folder, Named, OpenOptions
from .prepared import INFO_NAME, Found, prepared_splits, read_info
from .roots import MediaRoots
from .saved import DICT_NAME, is_saved, saved_splits
from .tables import IndexOptions, Table, open_table
from .views import View


def open_dataset(
    location: Folder | Named, arguments: LoadArguments, options: OpenOptions
) -> ArrowBackend:
    """Return the rows that the arguments name, ready to be read.

    Args:
        location: Where the dataset is; it decides, not ``arguments.path``, which is only what
            messages call the dataset.
        arguments: Configuration, split, data files and revision.

    Raises:
        BadSplit: The split is not in split notation, or selects no row.
        BadParameter: An argument does not apply to what is at the location.
        DatasetNotFound: There is no dataset.
        SplitNotFound: The dataset has no such split.
        DatasetDamaged: Its files cannot be read, or are not whole.
        Forbidden: A row names a media file that is not the dataset's.
    """
    # Before the files are looked for, which may take long.
    parse_split(arguments.split)
    return _opened(_found(location, arguments, options), arguments, options)


def split_openers(
    location: Folder | Named, arguments: LoadArguments, options: OpenOptions
) -> dict[str, Callable[[], ArrowBackend]]:
    """Return what opens each split of a dataset, by its name; errors as of ``open_dataset``.

    Args:
        arguments: As there; their split plays no part.
    """
    found = _found(location, arguments, options)
    return {
        name: partial(_opened, found, replace(arguments, split=name), options)
        for name in found.splits
    }


def _opened(found: Found, arguments: LoadArguments, options: OpenOptions) -> ArrowBackend:
    parts = parse_split(arguments.split)
    index = IndexOptions(
        options.index_folder / "batches",
        options.force_reindex,
        options.progress,
        options.is_guarded,
        options.on_indexed,
    )
    fingerprint = partial(fingerprint_of_table, roots=found.roots)
    tables = {
        name: open_table(found.splits[name], index, fingerprint)
        for name in _wanted(parts, found, arguments)
    }
    for name, table in tables.items():
        _check_whole(table, name, found, arguments)
    ranges = resolve_split(parts, {name: len(table) for name, table in tables.items()})
    selected = [(tables[name], rows) for name, rows in ranges]
    _check_columns([table for table, _ in selected], arguments)
    return ArrowBackend(View(selected), found.sources, found.roots)


def _found(location: Folder | Named, arguments: LoadArguments, options: OpenOptions) -> Found:
    if isinstance(location, Folder):
        found = _found_in_folder(location, arguments, options)
        return replace(found, roots=MediaRoots.of([location.path.expanduser()]))
    named = LoadArguments(
        location.path, arguments.name, arguments.split, arguments.data_files, arguments.revision
    )
    prepared = None if arguments.data_files else find_prepared(named, options)
    if prepared is None:
        from .prepare import prepare_named

        prepared = prepare_named(named, options)
    return replace(prepared, roots=_roots_of_named(location.path, prepared, options))


def _roots_of_named(path: str, found: Found, options: OpenOptions) -> MediaRoots:
    """Return what ``datasets`` downloads and extracts for a dataset, and nobody else's files."""
    closed = (
        options.hub_cache / repository_name(path),
        options.datasets_cache / "downloads",
        options.datasets_cache / cache_name(path),
    )
    return MediaRoots.of(found.sources.roots if found.sources else (), closed)


def _found_in_folder(location: Folder, arguments: LoadArguments, options: OpenOptions) -> Found:
    folder = location.path.expanduser().absolute()
    if not folder.exists():
        raise DatasetNotFound(f"Nothing is found at the path of dataset {arguments.path!r}.")
    if arguments.revision is not None:
        raise BadParameter(f"Dataset {arguments.path!r} is files, and has no revisions.")
    if is_saved(folder):
        _check_saved(folder, arguments)
        return saved_splits(folder)
    if (folder / INFO_NAME).is_file() and not arguments.data_files:
        info = read_info(folder)
        if info.get("splits"):
            _check_name(info, arguments)
            return prepared_splits(folder, info, arguments.path)
    if folder.suffix == ".arrow" and folder.is_file() and not arguments.data_files:
        _check_name({}, arguments)
        return Found({"train": (folder,)})
    from .prepare import prepare_folder

    return prepare_folder(folder, arguments, options)


def _check_saved(folder: Path, arguments: LoadArguments) -> None:
    if arguments.data_files:
        raise BadParameter(
            f"Dataset {arguments.path!r} was saved in whole: data_files does not apply."
        )
    if arguments.name is not None:
        is_dict = (folder / DICT_NAME).is_file()
        homes = [entry for entry in folder.iterdir() if entry.is_dir()] if is_dict else [folder]
        told = [read_info(home) for home in homes]
        _check_name(next((info for info in told if info.get("config_name")), {}), arguments)


def _check_name(info: Mapping[str, Any], arguments: LoadArguments) -> None:
    recorded = info.get("config_name")
    if arguments.name is not None and arguments.name != recorded:
        is_known = f"; it was saved from {recorded!r}" if recorded else ""
        raise BadParameter(
            f"Dataset {arguments.path!r} has no configuration {arguments.name!r}{is_known}.",
            hint="a saved dataset has no configurations: leave the argument 'name' out",
        )


def _check_whole(table: Table, name: str, found: Found, arguments: LoadArguments) -> None:
    """Refuse files that are cut between two record batches, which Arrow cannot notice."""
    told = found.rows.get(name)
    if told is not None and len(table) != told:
        raise DatasetDamaged(
            f"Split {name!r} of dataset {arguments.path!r} has {len(table):,} rows, its "
            f"{INFO_NAME} says {told:,}.",
            hint="delete the folder of the prepared dataset and prepare it again",
        )
    if told is None and found.is_ended and table.cut_files:
        raise DatasetDamaged(
            f"File {table.cut_files[0]!r} of dataset {arguments.path!r} is cut: it lacks the "
            "marker that ends an Arrow stream.",
            hint="save or prepare the dataset again",
        )


def _wanted(parts: tuple[SplitPart, ...], found: Found, arguments: LoadArguments) -> list[str]:
    """Return the splits whose files are needed, without repetition."""
    names = list(dict.fromkeys(part.name for part in parts))
    if names == [ALL_SPLITS] and parts[0].is_whole and ALL_SPLITS not in found.splits:
        return list(found.splits)
    for name in names:
        if name not in found.splits:
            raise SplitNotFound(
                f"Dataset {arguments.path!r} has no split {name!r}; "
                f"found: {', '.join(found.splits)}."
            )
    return names


def _check_columns(tables: list[Table], arguments: LoadArguments) -> None:
    if any(not table.schema.equals(tables[0].schema) for table in tables):
        raise BadSplit(
            f"Split {arguments.split!r} of dataset {arguments.path!r} adds splits of different "
            "columns."
        )
