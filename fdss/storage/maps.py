"""Files as addresses of this process, at which only the kernel looks.

A system call that finds a file cut where it was mapped answers with an error; whoever looks
there himself is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import pyarrow as pa

from .stamps import Stamp

#: Whether files can be mapped so, and every system call is known to answer then.
IS_LINUX = sys.platform == "linux" and sys.maxsize > 1 << 32

_MOST_MAPS = 2048
_PROT_READ = 1
_MAP_SHARED = 1
_FAILED = ctypes.c_void_p(-1).value


class FileMap:
    """A file that is mapped for as long as this object, or a view of it, is."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map a file.

        Args:
            descriptor: Of the file, which may be closed afterwards.
            size: Bytes of the file, 1 or more.

        Raises:
            OSError: It cannot be mapped.
        """
        self._size = size
        self.address = libc().mmap(None, size, _PROT_READ, _MAP_SHARED, descriptor, 0)
        if self.address == _FAILED:
            self.address = None
            raise OSError(ctypes.get_errno(), "mmap")

    def __del__(self) -> None:
        if self.address is not None:
            libc().munmap(self.address, self._size)
            self.address = None

    def view(self, offset: int, length: int) -> memoryview:
        """Return a part of the file, to be given to a system call and not to be looked at."""
        part = pa.foreign_buffer(self.address + offset, length, base=self)
        return memoryview(part).cast("B")


def map_of(stamp: Stamp, descriptor: int) -> FileMap:
    """Return the map of a file; the latest are kept, as to make one costs more than to use it.

    All datasets of a process share them: it may have some 65,000 maps in all.

    Args:
        stamp: The file.
        descriptor: Of the file, open.

    Raises:
        OSError: It cannot be mapped.
    """
    found = _kept.get(stamp)
    if found is None:
        found = _kept[stamp] = FileMap(descriptor, stamp.size)
    # Another thread may have let go of it meanwhile, or of the one that is to go.
    with contextlib.suppress(KeyError):
        _kept.move_to_end(stamp)
        if len(_kept) > _MOST_MAPS:
            _kept.popitem(last=False)
    return found


_kept: OrderedDict[Stamp, FileMap] = OrderedDict()


@lru_cache(1)
def libc() -> Any:
    """Return the C library, with the types of what maps files."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    size, number = ctypes.c_size_t, ctypes.c_int
    library.mmap.argtypes = [ctypes.c_void_p, size, number, number, number, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, size]
    return library
