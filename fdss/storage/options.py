"""What is opened, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """A dataset at a path of this machine: a folder, or a file of rows."""

    path: Path


@dataclass(frozen=True)
class Named:
    """A dataset by its Hub id, or, where options allow it, by the name of a packaged builder."""

    path: str


@dataclass(frozen=True)
class OpenOptions:
    """How datasets are opened.

    Attributes:
        index_folder: Where indexes and prepared copies are kept.
        datasets_cache: Root of the HF datasets cache.
        hub_cache: Root of the HF hub cache.
        downloads: Whether what is not on this machine may be downloaded.
        builders: Whether names of packaged builders (``json``, ``csv`` …) are allowed.
        force_reindex: Whether to build the index anew.
        num_proc: Processes that prepare a dataset; None for one.
        progress: Whether to show progress on a terminal when something takes long.
        is_guarded: Whether a file that is cut while it is read must not end this process. Where
            it may, stored order is read through memory maps, without a copy.
        max_copies: Most prepared copies of one folder that are kept, each of other data files.
        on_indexed: Called with the seconds that an index took, for each that had to be built.
    """

    index_folder: Path
    datasets_cache: Path
    hub_cache: Path
    downloads: bool = False
    builders: bool = False
    force_reindex: bool = False
    num_proc: int | None = None
    progress: bool = False
    is_guarded: bool = True
    max_copies: int = 16
    on_indexed: Callable[[float], None] | None = None
