"""Numbers that several processes count, in memory that all of them see.

``prometheus_client`` has a mode for several processes, which needs a variable of the environment
before it is imported, knows one set of metrics a process, exports no values that are looked up,
and leaves a file behind for every process that ever was. Here a worker has a row of numbers in
the memory that its supervisor holds. The next worker in its place goes on with that row.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.context import SpawnContext
from typing import Any

from .families import Family, Kind

# Reentrant: the garbage collector may end a response while another is counted.
_lock = threading.RLock()

_Series = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Board:
    """The numbers of all workers; each writes its own row.

    Attributes:
        families: What is counted.
        memory: Numbers of one worker after another, all of the same metrics in the same order.
        index: The worker that this is the view of.
        begun_at_s: When counting began, in seconds since the epoch.
    """

    families: tuple[Family, ...]
    memory: Any
    index: int = 0
    begun_at_s: float = field(default_factory=time.time)

    @classmethod
    def of(
        cls, families: tuple[Family, ...], workers: int = 1, context: SpawnContext | None = None
    ) -> Board:
        """Return the board of a number of workers, all zero; without a context of one process."""
        size = workers * _row_size(families)
        return cls(families, [0.0] * size if context is None else context.RawArray("d", size))

    def count(self, name: str, *values: str, amount: float = 1.0) -> None:
        """Count something that happened.

        Args:
            name: Name of a counter.
            values: Of its labels, in their order.
        """
        place = self._place(name, values)
        with _lock:
            self.memory[place] += amount

    def observe(self, name: str, value: float, *values: str) -> None:
        """Count a value in the bucket of a histogram that it belongs to, and sum it."""
        place = self._place(name, values)
        buckets = self._by_name[name].buckets
        with _lock:
            self.memory[place + bisect_left(buckets, value)] += 1.0
            self.memory[place + len(buckets) + 1] += value

    def set(self, name: str, value: float) -> None:
        """Say what a gauge without labels is now, for this worker."""
        self.memory[self._place(name, ())] = value

    def end(self) -> None:
        """Forget the gauges of this worker, which is no more or begins anew."""
        for family in self.families:
            if family.kind is Kind.GAUGE:
                self.set(family.name, 0.0)

    def sums(self) -> dict[_Series, list[float]]:
        """Return the numbers of every series, summed over all workers."""
        size = _row_size(self.families)
        numbers = list(self.memory)
        rows = [numbers[begin : begin + size] for begin in range(0, len(numbers), size)]
        summed = [float(sum(column)) for column in zip(*rows, strict=True)]
        return {
            (name, values): summed[begin : begin + self._by_name[name].width]
            for (name, values), begin in self._begins.items()
        }

    def _place(self, name: str, values: tuple[str, ...]) -> int:
        begin = self._begins.get((name, values))
        if begin is None:
            begin = self._begins[name, self._by_name[name].known(values)]
        return self._row_begin + begin

    @cached_property
    def _row_begin(self) -> int:
        return self.index * _row_size(self.families)

    @cached_property
    def _by_name(self) -> dict[str, Family]:
        return {family.name: family for family in self.families}

    @cached_property
    def _begins(self) -> dict[_Series, int]:
        begins: dict[_Series, int] = {}
        begin = 0
        for family in self.families:
            for values in family.series if family.width else ():
                begins[family.name, values] = begin
                begin += family.width
        return begins


def _row_size(families: tuple[Family, ...]) -> int:
    return sum(family.size for family in families)
