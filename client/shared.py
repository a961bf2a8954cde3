"""Memory that worker processes share, and which of them this process is."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable
from ctypes import c_uint64
from multiprocessing import sharedctypes
from multiprocessing.context import get_spawning_popen
from multiprocessing.sharedctypes import RawArray
from typing import Any

WORD_BYTES = 8

# Its types leave out how shared memory is pickled.
_pickling: Any = sharedctypes


class SharedWords:
    """Numbers from 0 to 2**64 - 1 that a process shares with the workers it starts.

    A copy, and what is pickled for any other reason than to start a process, has memory of its
    own. Memory that another process may know is never given back: what is allocated in its place
    would be read, and written, as if it were still these numbers.

    Attributes:
        words: The numbers.
    """

    def __init__(self, count: int, numbers: Iterable[int] = ()) -> None:
        """Begin with some numbers, and 0 for the rest of ``count``."""
        self.words: Any = RawArray(c_uint64, count)
        for at, number in enumerate(numbers):
            self.words[at] = number
        self._is_kept = False
        _living[id(self)] = self

    def keep(self) -> None:
        """Say that another process knows the memory."""
        if not self._is_kept:
            self._is_kept = True
            _kept.append(self.words)

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None:
            return SharedWords, (len(self.words), list(self.words))
        self.keep()
        # A pickler knows the types of shared memory that there were when it began.
        return _attached, _pickling.reduce_ctype(self.words)[1]


_living: weakref.WeakValueDictionary[int, SharedWords] = weakref.WeakValueDictionary()
_kept: list[Any] = []


def _attached(*parts: Any) -> SharedWords:
    attached = object.__new__(SharedWords)
    attached.words = _pickling.rebuild_ctype(*parts)
    # It is the other process that allocates.
    attached._is_kept = True
    return attached


def _keep_all() -> None:
    for reference in _living.valuerefs():
        shared = reference()
        if shared is not None:
            shared.keep()


class Process:
    """One process, as opposed to those that it forks.

    Attributes:
        here: The process that looks.
        spare: Memory that was given back, to be used for the same again.
    """

    here: Process

    def __init__(self) -> None:
        self.spare: list[SharedWords] = []


def _begin_process() -> None:
    Process.here = Process()


_begin_process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_keep_all, after_in_child=_begin_process)


def current_worker() -> tuple[int, int] | None:
    """Return this DataLoader worker's number and how many there are; None outside of one."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data is not None else None
    return None if info is None else (info.id, info.num_workers)
