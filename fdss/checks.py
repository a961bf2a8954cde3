"""What a dataset server looks at before it says that it is ready."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from fdss import places
from fdss.expiry import Expiry
from fdss.files import make_private
from fdss.readiness import Check, Readiness

#: Files that must still be free: a dataset in many shards opens some at once.
FREE_FILES = 64


@dataclass(frozen=True)
class Vital:
    """What the checks of a server look at.

    Attributes:
        is_stopping: Whether it has been told to stop.
        catalog: Why its catalog cannot answer, None if it can.
        preloading: Why what is to be open at the start is not yet, None if it is.
        expiry: Of its certificate; None without TLS.
    """

    is_stopping: Callable[[], bool]
    catalog: Check
    preloading: Check
    expiry: Expiry | None = None


def register_checks(readiness: Readiness, vital: Vital) -> None:
    """Register the checks of a dataset server."""
    readiness.register("running", lambda: "the server is stopping" if vital.is_stopping() else None)
    if vital.expiry is not None:
        readiness.register("certificate", vital.expiry.trouble)
    readiness.register("index_folder", index_folder_trouble)
    readiness.register("open_files", open_files_trouble)
    readiness.register("catalog", vital.catalog)
    readiness.register("preload", vital.preloading)


def index_folder_trouble() -> str | None:
    """Return why no index can be kept; None if one can."""
    folder = places.index_folder()
    try:
        make_private(folder)
        with tempfile.TemporaryFile(dir=folder, prefix=".ready-") as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        # Without its words: they name the path.
        return f"the index folder cannot be written: {error.strerror or 'it failed'}"
    return None


def open_files_trouble() -> str | None:
    """Return why no more files can be opened; None if enough can, or nobody can tell."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return None
    try:
        free = most - len(os.listdir("/proc/self/fd"))
    except OSError:
        free = 0
    if free >= FREE_FILES:
        return None
    return f"{max(0, free)} of {most} files can still be opened, and {FREE_FILES} should be"
