"""What FDSS is compared with, one module each; each says what has to be installed for it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

#: The modules a peer imports, and what they are called where packages are had.
NEEDS = {
    "datasets": {"datasets": "datasets"},
    "flight": {"pyarrow.flight": "pyarrow"},
    "row-server": {"fastapi": "fastapi", "uvicorn": "uvicorn"},
    "mosaic": {"streaming": "mosaicml-streaming"},
    "litdata": {"litdata": "litdata"},
    "sockets": {},
    "waitress": {"waitress": "waitress"},
}


@cache
def missing(peer: str) -> tuple[str, ...]:
    """Return why a peer cannot run: what is not installed, or cannot be imported."""
    told = []
    for module, package in NEEDS[peer].items():
        # In a process of its own: what it imports would stay, and some of it is large.
        command = [sys.executable, "-W", "ignore", "-c", f"import {module}"]
        ended = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8")
        if ended.returncode:
            told.append(f"{package} ({ended.stderr.strip().splitlines()[-1]})")
    return tuple(told)
