"""Another limit of open files for a while."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Let this process, and those it starts, open so many files, or as many as it may.

    Only where there is a module ``resource``: not on Windows.
    """
    resource: Any = importlib.import_module("resource")
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
