"""Open a dataset: find its Arrow files, their index, and the rows that the split means."""

from __future__ import annotations

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter, BadSplit, DatasetNotFound, SplitNotFound
from fdss.splits import ALL_SPLITS, SplitPart, parse_split, resolve_split

from .arrow import ArrowBackend
from .fingerprint import fingerprint_of_table
from .hub_cache import find_prepared
from .options import Folder, Named, OpenOptions
from .prepared import INFO_NAME, Found, prepared_splits, read_info
from .saved import is_saved, saved_splits
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
        DatasetDamaged: Its files cannot be read.
    """
    parts = parse_split(arguments.split)
    found = _found(location, arguments, options)
    index = IndexOptions(options.index_folder / "batches", options.force_reindex, options.progress)
    tables = {
        name: open_table(found.splits[name], index, fingerprint_of_table)
        for name in _wanted(parts, found, arguments)
    }
    ranges = resolve_split(parts, {name: len(table) for name, table in tables.items()})
    selected = [(tables[name], rows) for name, rows in ranges]
    _check_columns([table for table, _ in selected], arguments)
    return ArrowBackend(View(selected), found.sources)


def _found(location: Folder | Named, arguments: LoadArguments, options: OpenOptions) -> Found:
    if isinstance(location, Folder):
        return _found_in_folder(location, arguments, options)
    named = LoadArguments(
        location.path, arguments.name, arguments.split, arguments.data_files, arguments.revision
    )
    found = None if arguments.data_files else find_prepared(named, options)
    if found is not None:
        return found
    from .prepare import prepare_named

    return prepare_named(named, options)


def _found_in_folder(location: Folder, arguments: LoadArguments, options: OpenOptions) -> Found:
    folder = location.path.expanduser().absolute()
    if not folder.exists():
        raise DatasetNotFound(f"Nothing is found at the path of dataset {arguments.path!r}.")
    if arguments.revision is not None:
        raise BadParameter(f"Dataset {arguments.path!r} is files, and has no revisions.")
    if is_saved(folder):
        _check_saved(arguments)
        return saved_splits(folder)
    if (folder / INFO_NAME).is_file() and not arguments.data_files:
        info = read_info(folder)
        if info.get("splits"):
            return prepared_splits(folder, info, arguments.path)
    if folder.suffix == ".arrow" and folder.is_file() and not arguments.data_files:
        return Found({"train": (folder,)})
    from .prepare import prepare_folder

    return prepare_folder(folder, arguments, options)


def _check_saved(arguments: LoadArguments) -> None:
    if arguments.data_files:
        raise BadParameter(
            f"Dataset {arguments.path!r} was saved in whole: data_files does not apply."
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
