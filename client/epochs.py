"""The number of an epoch, which DataLoader workers read and the main process sets."""

from __future__ import annotations

from ctypes import c_uint64
from multiprocessing.context import get_spawning_popen
from multiprocessing.sharedctypes import RawValue
from typing import Any


class Epoch:
    """A number in memory that worker processes share.

    A worker that lives on from one epoch to the next (``persistent_workers``) has a dataset of
    its own, and would never hear of ``set_epoch`` otherwise. A copy, and what is pickled for any
    other reason than to start a process, has memory of its own.

    Attributes:
        number: 0 to 2**64 - 1.
        is_named: Whether ``set_epoch`` has named it in this process.
    """

    def __init__(self, number: int = 0) -> None:
        self._shared = RawValue(c_uint64, number)
        self.is_named = False

    @property
    def number(self) -> int:
        """Return the number."""
        return int(self._shared.value)

    @number.setter
    def number(self, number: int) -> None:
        """Set the number, for the workers too."""
        self._shared.value = number

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None:
            return Epoch, (self.number,)
        return _attached, (self._shared,)


def _attached(shared: Any) -> Epoch:
    epoch = Epoch()
    epoch._shared = shared
    return epoch
