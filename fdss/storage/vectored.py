"""Many ranges of files, copied into memory of one's own by a few system calls.

``process_vm_writev`` copies a thousand ranges in one call. The files are mapped for it, but only
the kernel touches the maps: where a file was cut it stops, and says so. (``process_vm_readv``
does too, and looks up every page of the files in its own way: three to twenty times as slow.)
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .maps import IS_LINUX, libc, map_of
from .ranges import OpenFile

Numbers = NDArray[np.int64]
Copy = Callable[..., int]

# So many calls for a range each cost less than one for all, with what it takes to set it up.
_FEW_RANGES = 16
# IOV_MAX of Linux.
_MOST_RANGES = 1024


@dataclass(frozen=True)
class Fill:
    """Some memory, and the ranges that are to stand in it one after another.

    Attributes:
        memory: As large as all ranges.
        files: int64, the number of the file of each range.
        offsets: int64, where in its file it begins.
        sizes: int64, bytes of each.
    """

    memory: pa.Buffer
    files: Numbers
    offsets: Numbers
    sizes: Numbers


def fill(fills: Sequence[Fill], files: Sequence[OpenFile]) -> None:
    """Copy ranges of files into memory.

    Args:
        files: What the numbers of the ranges name.

    Raises:
        ContentChanged: A file ends before one of its ranges does.
        OSError: A file cannot be read.
    """
    numbers = np.concatenate([fill.files for fill in fills])
    offsets = np.concatenate([fill.offsets for fill in fills])
    sizes = np.concatenate([fill.sizes for fill in fills])
    targets = np.concatenate(
        [fill.memory.address + np.cumsum(fill.sizes) - fill.sizes for fill in fills]
    )
    copy = _kernel_copy() if np.count_nonzero(sizes) > _FEW_RANGES else None
    if copy is None:
        _read_each(fills, files)
        return
    maps = [map_of(file.stamp, file.descriptor) for file in files]
    starts = np.array([found.address for found in maps], np.int64)
    bad = _copied(copy, targets, starts[numbers] + offsets, sizes)
    if bad >= 0:
        # The call that says what is wrong.
        files[numbers[bad]].read(int(offsets[bad]), int(sizes[bad]))
        raise OSError("a range of a file cannot be copied")


def _read_each(fills: Sequence[Fill], files: Sequence[OpenFile]) -> None:
    for fill in fills:
        memory = memoryview(fill.memory).cast("B")
        done = 0
        ranges = zip(fill.files.tolist(), fill.offsets.tolist(), fill.sizes.tolist(), strict=True)
        for number, offset, size in ranges:
            files[number].fill(memory[done : done + size], offset)
            done += size


def _copied(copy: Copy, targets: Numbers, sources: Numbers, sizes: Numbers) -> int:
    """Copy memory, and return how many ranges were copied before one could not be."""
    wanted = np.flatnonzero(sizes)
    targets, sources, sizes = targets[wanted], sources[wanted], sizes[wanted]
    count = len(wanted)
    at = 0
    while at < count:
        part = slice(at, at + _MOST_RANGES)
        local = np.stack([sources[part], sizes[part]], axis=1)
        remote = _joined(targets[part], sizes[part])
        ends = np.cumsum(sizes[part])
        done = copy(os.getpid(), local.ctypes.data, len(local), remote.ctypes.data, len(remote), 0)
        if done <= 0:
            return int(wanted[at])
        if done == ends[-1]:
            at += len(local)
            continue
        # Two gibibytes are the most of one call; or a file ends here, which the next tells.
        whole = int(np.searchsorted(ends, done, side="right"))
        begun = done - (int(ends[whole - 1]) if whole else 0)
        at += whole
        targets[at] += begun
        sources[at] += begun
        sizes[at] -= begun
    return -1


def _joined(targets: Numbers, sizes: Numbers) -> Numbers:
    """Return pieces of memory, each an address and a size, with those that touch made one."""
    breaks = np.flatnonzero(targets[1:] != targets[:-1] + sizes[:-1])
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    return np.stack([targets[starts], np.add.reduceat(sizes, starts)], axis=1)


@lru_cache(1)
def _kernel_copy() -> Copy | None:
    """Return ``process_vm_writev``, if this system has it and lets us call it."""
    if not IS_LINUX:
        return None
    try:
        copy = libc().process_vm_writev
    except AttributeError:
        return None
    pointer, count = ctypes.c_void_p, ctypes.c_ulong
    copy.argtypes = [ctypes.c_int, pointer, count, pointer, count, count]
    copy.restype = ctypes.c_ssize_t
    source, target = np.arange(8, dtype=np.int64), np.zeros(8, np.int64)
    size = np.array([source.nbytes])
    bad = _copied(copy, np.array([target.ctypes.data]), np.array([source.ctypes.data]), size)
    return copy if bad < 0 and np.array_equal(source, target) else None
