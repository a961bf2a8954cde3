"""What one iterator gives of a view: which places, and how a state counts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from fdss.backend import Runs


@dataclass(frozen=True)
class Segment:
    """Places that one selection reads.

    Attributes:
        places: Places of a view, rising.
        runs: Which of them are read; None for all.
    """

    places: range
    runs: Runs | None = None

    def __len__(self) -> int:
        places = len(self.places)
        return places if self.runs is None else self.runs.count(places)

    def each(self) -> Iterator[int]:
        """Yield the places that are read, one by one."""
        if self.runs is None:
            yield from self.places
            return
        runs = self.runs
        for begin in range(-runs.begun, len(self.places), runs.rows * runs.every):
            yield from self.places[max(begin, 0) : begin + runs.rows]


class Numbering(Protocol):
    """The numbers of the rows that reach a step, and how a state counts them."""

    @property
    def start(self) -> int:
        """Return the count of rows at the start."""

    def saved(self, row: int) -> int:
        """Return what a state says when so many rows were counted."""

    def restored(self, value: int) -> int:
        """Return the count of rows that a state says.

        Raises:
            StateRefused: It is none.
        """

    def numbers(self, row: int) -> Iterator[int]:
        """Yield the numbers of the rows that follow."""


class Share(Numbering, Protocol):
    """The rows of one iterator."""

    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    def ends_the_epoch(self) -> bool:
        """Return whether behind the last row nothing is left of the epoch, for no rank."""

    def segments(self, row: int) -> Iterator[Segment]:
        """Yield the places of the rows from the ``row``-th on."""


@dataclass(frozen=True)
class Counted:
    """Rows that are counted as they come, from ``start`` on."""

    start: int = 0

    def saved(self, row: int) -> int:
        """Return the count."""
        return row

    def restored(self, value: int) -> int:
        """Return the count."""
        return value

    def numbers(self, row: int) -> Iterator[int]:
        """Yield the numbers from ``row`` on."""
        return count(row)


@dataclass(frozen=True)
class Whole(Counted):
    """All places of a view.

    Attributes:
        places: How many there are.
    """

    places: int = 0

    ends_the_epoch = True

    def __len__(self) -> int:
        return self.places

    def segments(self, row: int) -> Iterator[Segment]:
        """Yield the places from ``row`` on."""
        yield Segment(range(row, self.places))
