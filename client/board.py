"""The slots of all readers of a dataset, in memory that they share with the main process."""

from __future__ import annotations

import os
import weakref
from multiprocessing.context import get_spawning_popen
from typing import Any

from .meter import Meter
from .shared import WORD_BYTES, Process, SharedWords, current_worker
from .slots import OWNER, SLOT_BYTES, Slot, Snapshot

#: DataLoader workers that have a slot; those beyond count for themselves.
WORKERS = 64


class Board:
    """Where the readers of one dataset write their counts.

    A process has slots of its own, one for itself and one for each DataLoader worker that it
    starts; a worker writes into those of the process that started it. The memory is taken when
    the process first reads, forks or spawns: most datasets of a chain do none of it.

    Attributes:
        name: Of the dataset, for the log.
    """

    def __init__(self, name: str = "") -> None:
        """Take no memory yet.

        Args:
            name: Of the dataset, for the log.
        """
        self.name = name
        self._memory: SharedWords | None = None
        self._process: Process | None = None
        _living[id(self)] = self

    def begin(self, worker: tuple[int, int] | None, epoch: int, position: int) -> Meter:
        """Begin a pass, which is the newest of this process or worker from now on.

        Args:
            worker: Number of the DataLoader worker and how many there are; None outside of one.
            position: Rows of the epoch that lie behind the pass.
        """
        number, workers = worker or (-1, 0)
        memory = self.prepare() if worker is None else self._memory
        if memory is None or number >= WORKERS:
            return Meter(Slot(bytearray(SLOT_BYTES)), workers, epoch, position)
        return Meter(_slot(memory, number + 1), workers, epoch, position)

    def newest(self) -> tuple[list[Snapshot], int]:
        """Return the counts of the readers of the newest pass, and the workers without a slot."""
        if self._memory is None or (self._process is not Process.here and not current_worker()):
            return [], 0
        slots = [_slot(self._memory, at) for at in range(1 + WORKERS)]
        found = [
            slot.snapshot(at - 1 if at else None)
            for at, slot in enumerate(slots)
            if slot.numbers[OWNER]
        ]
        if not found:
            return [], 0
        newest = max(found, key=lambda snapshot: snapshot.began_ns)
        workers, epoch = newest.workers, newest.epoch
        if newest.worker is None:
            return [newest], 0
        among = [
            snapshot
            for snapshot in found
            if snapshot.worker is not None
            and snapshot.worker < workers == snapshot.workers
            and snapshot.epoch == epoch
        ]
        return among, max(workers - WORKERS, 0)

    def prepare(self) -> SharedWords:
        """Return the memory of this process, for itself and the workers that it starts."""
        if self._memory is None or self._process is not Process.here:
            self._memory, self._process = _taken(), Process.here
            given_back = weakref.finalize(self, _give_back, self._memory, self._process)
            given_back.atexit = False
        return self._memory

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None or current_worker() is not None:
            return Board, (self.name,)
        return _attached, (self.name, self.prepare())


_living: weakref.WeakValueDictionary[int, Board] = weakref.WeakValueDictionary()


def _attached(name: str, memory: SharedWords) -> Board:
    board = Board(name)
    board._memory = memory
    return board


def _slot(memory: SharedWords, at: int) -> Slot:
    whole = memoryview(memory.words).cast("B")
    return Slot(whole[at * SLOT_BYTES : (at + 1) * SLOT_BYTES])


def _taken() -> SharedWords:
    spare = Process.here.spare
    if not spare:
        return SharedWords((1 + WORKERS) * SLOT_BYTES // WORD_BYTES)
    memory = spare.pop()
    whole = memoryview(memory.words).cast("B")
    # A worker of the dataset before finds that its pass is not the one in the slot.
    whole[:] = bytes(len(whole))
    return memory


def _give_back(memory: SharedWords, process: Process) -> None:
    if process is Process.here:
        process.spare.append(memory)


def _prepare_all() -> None:
    if current_worker() is not None:
        # The memory of a worker is that of the process that started it.
        return
    for reference in _living.valuerefs():
        board = reference()
        if board is not None:
            board.prepare()


if hasattr(os, "register_at_fork"):
    # It runs before what shared.py has registered, which keeps the memory.
    os.register_at_fork(before=_prepare_all)
