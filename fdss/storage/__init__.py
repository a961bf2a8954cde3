"""Storage: datasets on this machine, opened in milliseconds and read from any position."""

from __future__ import annotations

from .arrow import ArrowBackend as ArrowBackend
from .listing import cached_datasets as cached_datasets, describe_folder as describe_folder
from .opening import open_dataset as open_dataset, split_openers as split_openers
from .options import Folder as Folder, Named as Named, OpenOptions as OpenOptions
