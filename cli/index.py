"""Command that prepares datasets and their indexes ahead, so that no load has to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from fdss.arguments import LoadArguments
from fdss.config import ServerConfig
from fdss.config_file import ConfigFile, read_config_file
from fdss.errors import FdssError, SplitNotFound, UnknownLocal
from fdss.offline import switch_offline

from .output import count, print_json, print_lines, printable

if TYPE_CHECKING:
    from fdss.storage import ArrowBackend, Folder, Named, OpenOptions

INTERRUPTED = 130
_LOCAL = "local/"
# Settings of a server that say how it opens datasets.
_OPENING_KEYS = ("allow_downloads", "allow_paths", "follow_links", "max_copies")


@dataclass(frozen=True)
class Prepared:
    """What became of one split, or of a dataset whose splits are not known.

    Attributes:
        batches: Record batches of the split's files.
        was_there: Whether an index that fits was there already.
        error: Why it cannot be loaded.
    """

    path: str
    split: str | None
    seconds: float
    rows: int | None = None
    batches: int | None = None
    was_there: bool = False
    error: str | None = None

    @property
    def line(self) -> str:
        """Return the line for people."""
        title = self.path if self.split is None else f"{self.path} {self.split}"
        if self.error is not None:
            return printable(f"{title}: FAILED: {self.error}")
        ending = "already there" if self.was_there else f"prepared in {self.seconds:.2f} s"
        return printable(
            f"{title}: {count(self.rows)} rows, {count(self.batches)} batches, {ending}"
        )


@dataclass(frozen=True)
class Wanted:
    """One dataset to be prepared: where it is, what is asked of it, and how it is opened."""

    location: Folder | Named
    arguments: LoadArguments
    options: OpenOptions


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--name", metavar="CONFIG", help="Configuration of the datasets.")
@click.option("--split", metavar="SPLIT", help="Split to prepare; without it every one.")
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit.")
@click.option(
    "--data-files", metavar="PATTERN", multiple=True, help="Files of the dataset; repeatable."
)
@click.option(
    "--num-proc", type=click.IntRange(1), metavar="N", help="Processes that prepare a dataset."
)
@click.option("--force-reindex", is_flag=True, help="Prepare anew what is there.")
@click.option("--config", "config_file", metavar="FILE", help="YAML file of a server's settings.")
@click.option("--all", "every_local", is_flag=True, help="Every named local dataset of that file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def index(
    paths: tuple[str, ...],
    config_file: str | None,
    every_local: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Prepare the datasets at PATHs and their indexes, which otherwise the first load does.

    A PATH is a folder, a file, a Hub id in this machine's cache, or local/NAME of a server's
    configuration file: the one that is named, else the one that fdss start reads. Nothing is
    downloaded, unless that file allows it.
    """
    file = read_config_file(config_file)
    names = [_LOCAL + name for name in sorted(file.local)] if every_local else []
    wanted = list(dict.fromkeys([*paths, *names]))
    if not wanted:
        raise click.UsageError(
            "There is nothing to prepare: name a PATH, or give --all and a file with 'local'."
        )
    if not file.values.get("allow_downloads"):
        switch_offline()
    prepared: list[Prepared] = []
    is_interrupted = False
    try:
        for one in _all_prepared(wanted, file, given):
            prepared.append(one)
            if not as_json:
                # A bar would be written into.
                with tqdm.external_write_mode():
                    print_lines([one.line])
    except KeyboardInterrupt:
        is_interrupted = True
        click.echo("interrupted: what was begun last is not prepared, nor what follows", err=True)
    if as_json:
        print_json({"prepared": [asdict(one) for one in prepared], "interrupted": is_interrupted})
    is_failed = any(one.error is not None for one in prepared)
    raise SystemExit(INTERRUPTED if is_interrupted else int(is_failed))


def _all_prepared(
    paths: list[str], file: ConfigFile, given: Mapping[str, Any]
) -> Iterator[Prepared]:
    """Yield what becomes of each split of each dataset, with a bar where there is a terminal."""
    with tqdm(paths, unit="dataset", disable=None, leave=False) as bar:
        for path in bar:
            bar.set_description(printable(path))
            yield from _splits_prepared(path, file, given)


def _splits_prepared(path: str, file: ConfigFile, given: Mapping[str, Any]) -> Iterator[Prepared]:
    begun_s = time.perf_counter()
    try:
        wanted = _wanted(path, file, given)
        openers = _openers(wanted, given["split"])
    except (FdssError, OSError) as error:
        yield _failed(path, given["split"], begun_s, error)
        return
    for split, opener in openers.items():
        yield _prepared(wanted, split, opener, begun_s)
        begun_s = time.perf_counter()


def _wanted(path: str, file: ConfigFile, given: Mapping[str, Any]) -> Wanted:
    """Return a dataset as a load of that path has it: with a server, or without one."""
    # Here, so that the other commands do not wait for its import.
    from fdss.openers import checked_location, storage_options
    from fdss.policy import grant
    from fdss.storage import Folder, Named

    fields = {key: given[key] for key in ("name", "split", "revision")}
    arguments = LoadArguments.from_json(
        {"path": path, "data_files": list(given["data_files"]) or None, **fields}
    )
    is_local = path.startswith(_LOCAL) and not os.path.exists(path)
    config = _config(file, path.removeprefix(_LOCAL) if is_local else None)
    options = replace(
        storage_options(config),
        force_reindex=given["force_reindex"],
        num_proc=given["num_proc"],
        progress=True,
    )
    if is_local:
        location = checked_location(grant(arguments, config), arguments, config)
        return Wanted(location, arguments, options)
    folder = Path(path).expanduser()
    found = Folder(folder.absolute()) if folder.exists() else Named(path)
    return Wanted(found, arguments, replace(options, builders=True))


def _config(file: ConfigFile, name: str | None) -> ServerConfig:
    """Return the settings of a server that serves one dataset of a file, or none."""
    values = {key: value for key, value in file.values.items() if key in _OPENING_KEYS}
    if name is None:
        return ServerConfig(**values)
    if name not in file.local:
        where = f"config file {str(file.path)!r} names none" if file.path else "no --config"
        raise UnknownLocal(
            f"There is no local dataset {name!r}: {where}.",
            hint="give the folder: fdss index PATH, or name the configuration with --config",
        )
    return ServerConfig(**values, local={name: file.local[name]})


def _openers(wanted: Wanted, split: str | None) -> dict[str, Callable[[], ArrowBackend]]:
    from fdss.splits import ALL_SPLITS, parse_split
    from fdss.storage import split_openers

    openers = split_openers(wanted.location, wanted.arguments, wanted.options)
    if split is None or split == ALL_SPLITS:
        return openers
    names = dict.fromkeys(part.name for part in parse_split(split))
    for name in names:
        if name not in openers:
            raise SplitNotFound(f"It has no split {name!r}; found: {', '.join(openers)}.")
    return {name: openers[name] for name in names}


def _prepared(
    wanted: Wanted, split: str, opener: Callable[[], ArrowBackend], begun_s: float
) -> Prepared:
    path = wanted.arguments.path
    before = _kept(wanted.options.index_folder)
    try:
        backend = opener()
        after = _kept(wanted.options.index_folder)
        names = [file.name for file in backend.index_files]
        if not all(name in after for name in names):
            raise FdssError("Its index cannot be kept, and every load makes it anew.")
    except (FdssError, OSError) as error:
        return _failed(path, split, begun_s, error)
    return Prepared(
        path,
        split,
        _seconds(begun_s),
        rows=len(backend),
        batches=backend.batch_count,
        was_there=all(before.get(name) == after[name] for name in names),
    )


def _kept(index_folder: Path) -> dict[str, int]:
    """Return the indexes that are kept, with the time each was written."""
    try:
        with os.scandir(index_folder / "batches") as entries:
            return {entry.name: entry.stat().st_mtime_ns for entry in entries}
    except OSError:
        return {}


def _failed(path: str, split: str | None, begun_s: float, error: Exception) -> Prepared:
    return Prepared(path, split, _seconds(begun_s), error=str(error))


def _seconds(begun_s: float) -> float:
    return round(time.perf_counter() - begun_s, 3)
