"""What is about to be read of a file, told to the kernel before it is touched.

Rows that are not in memory are brought in one after another, each with what the disk is set to
read around it. Told beforehand, the kernel fetches all the rows of a page at once, in the order
that suits the disk, and nothing beside them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from .ranges import OpenFile


def is_cached(file: OpenFile, offset: int) -> bool:
    """Tell whether a byte of a file is in memory: True where that cannot be told."""
    # A Python that was made for old C libraries, as portable ones are, cannot ask either.
    if sys.platform != "linux" or not hasattr(os, "RWF_NOWAIT"):
        return True
    descriptor = file.descriptor
    # Else the kernel would begin to read megabytes around the byte.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except (OSError, NotImplementedError):
        return True
    finally:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_NORMAL)
    return True


def fetch(file: OpenFile, ranges: Iterable[tuple[int, int]]) -> None:
    """Have the kernel fetch ranges of a file, each an offset and a size, and do not wait for it.

    Where the system cannot be asked, nothing happens.
    """
    if sys.platform != "linux":
        return
    for offset, size in ranges:
        # To the kernel a size of 0 is everything up to the end of the file.
        if size:
            os.posix_fadvise(file.descriptor, offset, size, os.POSIX_FADV_WILLNEED)
