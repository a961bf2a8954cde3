"""Ranges of files, which system calls alone touch.

A byte that is looked at through a memory map ends the process when the file was cut meanwhile; a
system call answers with fewer bytes, or with an error.
"""

from __future__ import annotations

import os
import stat
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType

import pyarrow as pa

from fdss.errors import ContentChanged, DatasetDamaged

from .maps import IS_LINUX, map_of
from .stamps import Stamp

#: Most bytes of a file that are held to be sent, where the kernel does not send them itself.
PIECE_BYTES = 1 << 18

# What is no regular file must not be waited for, and line ends are left as they are.
_FLAGS: int = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OpenFile:
    """A file that is open, and is the file that was stamped.

    Attributes:
        stamp: The file as it was.
        descriptor: Of the operating system; closed with the last use of this object.
    """

    def __init__(self, stamp: Stamp) -> None:
        """Open a file.

        Raises:
            ContentChanged: It is not the file that was stamped.
        """
        self.stamp = stamp
        try:
            self.descriptor = os.open(stamp.path, _FLAGS)
        except OSError as exc:
            raise _changed(stamp) from exc
        # Not in ``__del__``: there another thread still finds the file among those that are open.
        self._give_back = weakref.finalize(self, os.close, self.descriptor)
        self._give_back.atexit = False
        self._seeks = threading.Lock()
        self.check()

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        self.descriptor = -1
        self._give_back()

    def check(self) -> None:
        """Look whether the open file is still as it was.

        Raises:
            ContentChanged: It is not.
        """
        found = os.fstat(self.descriptor)
        is_same = found.st_size == self.stamp.size and found.st_mtime_ns == self.stamp.mtime_ns
        if not (is_same and stat.S_ISREG(found.st_mode)):
            raise _changed(self.stamp)

    def read(self, offset: int, length: int) -> pa.Buffer:
        """Return a range of the file, in memory of its own.

        Raises:
            ContentChanged: The file ends before.
            OSError: It cannot be read.
        """
        memory = pa.allocate_buffer(length)
        self.fill(memoryview(memory).cast("B"), offset)
        return memory

    def head(self, offset: int, length: int) -> bytes:
        """Return a few bytes of the file; raises what ``read`` does."""
        if not hasattr(os, "pread"):
            return bytes(self.read(offset, length))
        data: bytes = os.pread(self.descriptor, length, offset)
        if len(data) < length:
            raise _changed(self.stamp)
        return data

    def fill(self, memory: memoryview, offset: int) -> None:
        """Copy a range of the file into some memory; raises what ``read`` does."""
        done = 0
        while done < len(memory):
            count = self._some(memory[done:], offset + done)
            if not count:
                raise _changed(self.stamp)
            done += count

    def _some(self, memory: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return int(os.preadv(self.descriptor, [memory], offset))
        with self._seeks:
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            data = os.read(self.descriptor, min(len(memory), PIECE_BYTES))
        memory[: len(data)] = data
        return len(data)


class FileRange:
    """Consecutive bytes of a file, which are read when they are sent.

    The file is open from the first of them that is sent to the last, once for all who send of it.
    """

    def __init__(self, stamp: Stamp, offset: int, length: int) -> None:
        self._stamp = stamp
        self._offset = offset
        self._length = length
        self._file: OpenFile | None = None

    def __len__(self) -> int:
        return self._length

    def after(self, count: int) -> FileRange:
        """Return what follows the first ``count`` bytes."""
        rest = FileRange(self._stamp, self._offset + count, self._length - count)
        rest._file = self._file
        return rest

    def mapped(self) -> memoryview | None:
        """Return the bytes for the kernel alone, which answers with EFAULT where they are gone.

        Returns:
            None where the system does not offer it, or the file cannot be mapped.

        Raises:
            ContentChanged: The file is not the file that was opened.
            DatasetDamaged: It cannot be asked.
        """
        file = self._opened()
        if not IS_LINUX:
            return None
        try:
            return map_of(self._stamp, file.descriptor).view(self._offset, self._length)
        except OSError:
            return None

    def first(self, count: int = PIECE_BYTES) -> memoryview:
        """Return a copy of the first ``count`` bytes, or of all if there are fewer.

        Raises:
            ContentChanged: The file is not the file that was opened, or ends before.
            DatasetDamaged: It cannot be read.
        """
        file = self._opened()
        try:
            return memoryview(file.read(self._offset, min(count, self._length))).cast("B")
        except OSError as exc:
            raise _unreadable(self._stamp, exc) from exc

    def pieces(self) -> Iterator[memoryview]:
        """Yield all of the bytes, a quarter of a mebibyte at a time; raises what ``first`` does."""
        rest = self
        while len(rest):
            piece = rest.first()
            yield piece
            rest = rest.after(len(piece))

    def _opened(self) -> OpenFile:
        try:
            if self._file is None:
                self._file = _shared(self._stamp)
            self._file.check()
        except OSError as exc:
            # While it is sent, an error of the socket would be the client's doing.
            raise _unreadable(self._stamp, exc) from exc
        return self._file


_OPEN: weakref.WeakValueDictionary[Stamp, OpenFile] = weakref.WeakValueDictionary()


def _shared(stamp: Stamp) -> OpenFile:
    """Return a file that may be open already; a thousand readers need one descriptor."""
    file = _OPEN.get(stamp)
    if file is None:
        file = _OPEN[stamp] = OpenFile(stamp)
    return file


def _changed(stamp: Stamp) -> ContentChanged:
    return ContentChanged(f"File {stamp.name!r} changed after the dataset was opened.")


def _unreadable(stamp: Stamp, error: OSError) -> DatasetDamaged:
    return DatasetDamaged(f"File {stamp.name!r} cannot be read: {error.strerror}.")
