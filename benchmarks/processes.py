"""What a process and its children use, as Linux tells it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                found += family(int(child))
    return found


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process and its children have used, user and system."""
    ticks = 0
    for member in family(pid):
        with suppress(OSError):
            # The name of the program stands in parentheses, and may hold spaces.
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICKS_S


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and its children, mapped files not counted."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            status = Path(f"/proc/{member}/status").read_text()
            found = re.search(r"RssAnon:\s+(\d+) kB", status)
            total += int(found[1]) << 10 if found else 0
    return total


@dataclass(frozen=True)
class Holdings:
    """What a process and its children hold.

    Attributes:
        memory_bytes: Anonymous memory.
        threads: Threads.
        descriptors: Open file descriptors, sockets among them.
        sockets: Open sockets.
    """

    memory_bytes: int
    threads: int
    descriptors: int
    sockets: int


def holdings(pid: int) -> Holdings:
    """Return what a process and its children hold now."""
    threads = 0
    links: list[str] = []
    for member in family(pid):
        with suppress(OSError):
            threads += len(list(Path(f"/proc/{member}/task").iterdir()))
            for entry in Path(f"/proc/{member}/fd").iterdir():
                with suppress(OSError):
                    links.append(os.readlink(entry))
    sockets = sum(link.startswith("socket:") for link in links)
    return Holdings(memory_bytes(pid), threads, len(links), sockets)
