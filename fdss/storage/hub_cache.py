"""Datasets prepared in the HF datasets cache, found by its folders, without ``datasets``.

The layout is ``<namespace>___<name>/<config>/<version>/<hash>/dataset_info.json``; datasets
without a namespace have no ``___``, and old caches have no folder for the hash. For a dataset of
the Hub the hash is the commit it was prepared from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import DatasetDamaged, DatasetNotFound

from .options import OpenOptions
from .prepared import INFO_NAME, Found, prepared_splits, read_info, snake_case

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_SKIPPED_ENDS = (".lock", ".incomplete")
_LEAST_PREFIX = 6
_REVISION = re.compile(r"[\w][\w.-]*(?:/[\w][\w.-]*)*", re.ASCII)


@dataclass(frozen=True)
class Preparation:
    """A prepared configuration of a dataset: one folder of the cache.

    Attributes:
        folder: Folder that holds the Arrow files.
        config: Name of the configuration.
        version: Version of the configuration.
        commit: Name of the hash folder; empty in old layouts.
        mtime_ns: When it was prepared.
    """

    folder: Path
    config: str
    version: str
    commit: str
    mtime_ns: int

    @property
    def info(self) -> dict[str, Any]:
        """Return its ``dataset_info.json``."""
        return _info(self.folder, self.mtime_ns)


def find_prepared(arguments: LoadArguments, options: OpenOptions) -> Found | None:
    """Return the prepared files that the arguments name; None if there are none.

    Without a revision it is the commit of ``main`` that the hub cache knows, or else the latest
    preparation, which is what ``datasets`` takes when it is offline.

    Raises:
        DatasetNotFound: The path is no Hub id, or several configurations or commits match.
        DatasetDamaged: A prepared file is missing.
    """
    path = arguments.path
    if not _HUB_ID.fullmatch(path) or ".." in path:
        if path.startswith((".", "~")) or Path(path).is_absolute():
            raise DatasetNotFound(f"There is nothing at {path!r}.", hint="check the path")
        raise DatasetNotFound(f"{path!r} is no Hub id.", hint="write namespace/name")
    prepared = list(preparations(options.datasets_cache / cache_name(path)))
    if arguments.name is not None:
        prepared = [entry for entry in prepared if entry.config == arguments.name]
    wanted = _of_revision(prepared, arguments, options)
    if not wanted:
        return None
    chosen = max(_of_one_config(wanted, path), key=lambda entry: entry.mtime_ns)
    return prepared_splits(chosen.folder, chosen.info, path)


def cache_name(path: str) -> str:
    """Return the folder that the cache has for a Hub id."""
    *namespace, name = path.split("/")
    return "___".join((*namespace, snake_case(name)))


def repository_name(path: str) -> str:
    """Return the folder that the hub cache has for a Hub id."""
    return f"datasets--{path.replace('/', '--')}"


def preparations(folder: Path) -> Iterator[Preparation]:
    """Yield what is prepared in the folder of one dataset; odd folders are passed over."""
    for config in _folders(folder):
        for version in _folders(config):
            if (version / INFO_NAME).is_file():
                yield from _preparation(version, config.name, version.name, "")
            for commit in _folders(version):
                yield from _preparation(commit, config.name, version.name, commit.name)


def _preparation(folder: Path, config: str, version: str, commit: str) -> Iterator[Preparation]:
    try:
        mtime_ns = (folder / INFO_NAME).stat().st_mtime_ns
        told = _info(folder, mtime_ns).get("config_name")
    except (OSError, DatasetDamaged):
        return
    # Another name means a configuration made of arguments, such as data files of one's own.
    if told in (None, config):
        yield Preparation(folder, config, version, commit, mtime_ns)


def _of_revision(
    prepared: list[Preparation], arguments: LoadArguments, options: OpenOptions
) -> list[Preparation]:
    if arguments.revision is None:
        main = _commit(arguments.path, "main", options.hub_cache)
        return [entry for entry in prepared if main and entry.commit == main] or prepared
    revision = arguments.revision
    commit = _commit(arguments.path, revision, options.hub_cache)
    exact = [entry for entry in prepared if entry.commit in (revision, commit) and entry.commit]
    if exact or commit or len(revision) < _LEAST_PREFIX:
        return exact
    close = [entry for entry in prepared if entry.commit.startswith(revision)]
    if len({entry.commit for entry in close}) > 1:
        raise DatasetNotFound(
            f"Revision {revision!r} of dataset {arguments.path!r} is the beginning of several "
            "prepared commits.",
            hint="write more of the commit",
        )
    return close


def _of_one_config(prepared: list[Preparation], path: str) -> list[Preparation]:
    configs = sorted({entry.config for entry in prepared})
    if len(configs) == 1:
        return prepared
    if "default" in configs:
        return [entry for entry in prepared if entry.config == "default"]
    raise DatasetNotFound(
        f"Dataset {path!r} has several prepared configurations: {', '.join(configs)}.",
        hint="name one of them (the argument 'name')",
    )


def _commit(path: str, revision: str, hub_cache: Path) -> str | None:
    """Return the commit that the hub cache knows for a branch or tag."""
    if not _REVISION.fullmatch(revision) or ".." in revision:
        return None
    refs = hub_cache / repository_name(path) / "refs"
    try:
        return refs.joinpath(*revision.split("/")).read_text("ascii").strip() or None
    except (OSError, UnicodeError):
        return None


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.is_dir() and not entry.name.endswith(_SKIPPED_ENDS)
            ]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


@lru_cache(4096)
def _info(folder: Path, mtime_ns: int) -> dict[str, Any]:
    return read_info(folder)
