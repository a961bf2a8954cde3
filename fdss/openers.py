"""What opens the datasets of a server, once its policy has granted them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fdss import places
from fdss.arguments import LoadArguments
from fdss.backend import Backend, BatchSource
from fdss.config import ServerConfig
from fdss.files import make_private
from fdss.links import check_links
from fdss.metrics.server import ServerMeter
from fdss.policy import Grant
from fdss.storage import Folder, Named, OpenOptions, open_dataset


class ServedBackend(Backend, BatchSource, Protocol):
    """What the server reads from: rows, their record batches, and whether they still hold."""

    def is_stale(self, *, at_once: bool = False) -> bool:
        """Return whether the files changed since they were opened; looks at most once a second.

        Args:
            at_once: Look now.
        """


Opener = Callable[[Grant, LoadArguments], ServedBackend]


def storage_options(config: ServerConfig) -> OpenOptions:
    """Return how a server with these settings opens datasets."""
    return OpenOptions(
        index_folder=_private(places.index_folder()),
        datasets_cache=places.datasets_cache(),
        hub_cache=places.hub_cache(),
        downloads=config.allow_downloads,
        builders=config.allow_paths,
        max_copies=config.max_copies,
    )


def storage_opener(config: ServerConfig, meter: ServerMeter) -> Opener:
    """Return what opens granted datasets from this machine's caches and folders.

    Args:
        meter: What counts the indexes that had to be built.
    """
    options = replace(storage_options(config), on_indexed=meter.indexed)

    def opener(granted: Grant, arguments: LoadArguments) -> ServedBackend:
        return open_dataset(checked_location(granted, arguments, config), arguments, options)

    return opener


def checked_location(
    granted: Grant, arguments: LoadArguments, config: ServerConfig
) -> Folder | Named:
    """Return where a granted dataset is, once its links are known to be allowed.

    Raises:
        Forbidden: A link of a named folder leads out of it.
    """
    location = granted.location
    is_named = isinstance(location, Folder) and granted.source == "local"
    if is_named and not config.follow_links:
        check_links(Path(location.path), arguments.path)
    return location


def _private(folder: Path) -> Path:
    """Return a folder that holds rows of datasets, closed to other users."""
    # Where that cannot be done an index is not kept, which storage tells.
    with suppress(OSError):
        make_private(folder)
    return folder
