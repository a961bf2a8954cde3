"""Which places of one order each rank reads, and each of its DataLoader workers: arithmetic.

A global step consumes ``n * batch_size`` consecutive places of the order, n being the number of
ranks, or of groups of ranks that get the same rows, wherever the pass began. Inside it the ranks
take turns, place by place: the i-th row of rank r of n is place ``began + r + n * i``. So when
every rank has had i rows, exactly the first ``n * i`` places are consumed, at any row, and how far
a run has come is one number that no rank, number of ranks or batch size has a part in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fdss.backend import Runs
from fdss.errors import BadParameter, StateRefused

from .shares import Segment
from .states import BATCH_KEY, RANKS_KEY, TAIL_KEY, TAILS

PAD, DROP, UNEVEN = TAILS


@dataclass(frozen=True)
class Beginning:
    """Where one pass over an epoch begins.

    Attributes:
        began: Place from which global steps are counted.
        place: First place that is given, ``began`` or later by as many places as there are ranks,
            or a multiple of it: a pass may go on in the middle of a step.
    """

    began: int = 0
    place: int = 0


@dataclass(frozen=True)
class Distribution:
    """What one rank gets of an epoch, from the place where its next pass begins.

    Attributes:
        rank: This rank.
        world_size: Number of ranks.
        batch_size: Rows of a rank in one global step.
        tail: "pad", "drop" or "uneven".
        group: Neighbouring ranks that get identical rows.
        place: Place of the order where the pass begins.
        rows: Rows of this rank.
        batches: Batches of this rank, the last of which may be short when ``tail`` is "uneven".
        padded_rows: Rows of all ranks together that fill the last step and come a second time.
        dropped_rows: Rows of the order that no rank gets.
    """

    rank: int
    world_size: int
    batch_size: int
    tail: str
    group: int
    place: int
    rows: int
    batches: int
    padded_rows: int
    dropped_rows: int

    def __str__(self) -> str:
        grouped = f", {self.group} with the same rows" if self.group > 1 else ""
        begun = f" from place {self.place:,} on" if self.place else ""
        return (
            f"rank {self.rank} of {self.world_size}{grouped}: {self.rows:,} rows{begun} in "
            f"{self.batches:,} batches of {self.batch_size:,}; of all ranks {self.padded_rows:,} "
            f"rows are repeated and {self.dropped_rows:,} left out (tail={self.tail!r})"
        )


@dataclass(frozen=True)
class Ranks:
    """How the places of an order are shared out, and which of the ranks this is.

    Attributes:
        rank: 0 to ``world_size`` - 1.
        world_size: 1 or more.
        batch_size: Rows of a rank in one global step, 1 or more.
        tail: What becomes of the places that fill no whole step: "pad" fills it up with places
            from the start of the order, "drop" leaves them out, "uneven" gives each once.
        group: As many neighbouring ranks get identical rows; divides ``world_size``.
    """

    rank: int
    world_size: int
    batch_size: int
    tail: str = PAD
    group: int = 1

    def __post_init__(self) -> None:
        counts = {"world_size": self.world_size, "batch_size": self.batch_size, "group": self.group}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32:
                raise BadParameter(f"distribute() {name}={value!r} is not an integer of 1 or more.")
        is_rank = isinstance(self.rank, int) and not isinstance(self.rank, bool)
        if not is_rank or not 0 <= self.rank < self.world_size:
            raise BadParameter(
                f"distribute() rank={self.rank!r} is not an integer from 0 to world_size - 1 = "
                f"{self.world_size - 1}."
            )
        if self.tail not in TAILS:
            raise BadParameter(
                f"distribute() tail={self.tail!r} is not one of {', '.join(map(repr, TAILS))}."
            )
        if self.world_size % self.group:
            raise BadParameter(
                f"distribute() group={self.group} does not divide world_size={self.world_size}.",
                hint="a group is the ranks that work on the same rows",
            )

    @property
    def number(self) -> int:
        """Return which share of the rows this rank gets: its group's number."""
        return self.rank // self.group

    @property
    def count(self) -> int:
        """Return how many shares there are: the number of groups."""
        return self.world_size // self.group

    @property
    def step_places(self) -> int:
        """Return the places that one global step consumes."""
        return self.count * self.batch_size

    def end(self, places: int, began: int) -> int:
        """Return the place behind the last one that is given; padding is counted on.

        Args:
            places: Places of the order.
            began: Place from which steps are counted.
        """
        left = max(places - began, 0)
        if self.tail == UNEVEN:
            return began + left
        whole, rest = divmod(left, self.step_places)
        return began + (whole + (rest > 0 and self.tail == PAD)) * self.step_places

    def share(
        self, places: int, begin: Beginning, worker: tuple[int, int] | None = None
    ) -> RankShare:
        """Return what this rank, or one DataLoader worker of it, gets of so many places."""
        end = self.end(places, begin.began)
        return RankShare(self, places, begin.place, end, worker)

    def distribution(self, places: int, begin: Beginning) -> Distribution:
        """Return the counts of a pass over so many places."""
        end = self.end(places, begin.began)
        rows = len(self.share(places, begin))
        return Distribution(
            self.rank,
            self.world_size,
            self.batch_size,
            self.tail,
            self.group,
            place=begin.place,
            rows=rows,
            batches=-(-rows // self.batch_size),
            padded_rows=max(end - max(places, begin.place), 0),
            dropped_rows=max(places - max(end, begin.place), 0),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what a state has to agree with to go on in the middle of a step."""
        return {RANKS_KEY: self.count, BATCH_KEY: self.batch_size, TAIL_KEY: self.tail}


@dataclass(frozen=True)
class RankShare:
    """The rows of one rank in one pass, or of one DataLoader worker of it.

    Worker w of W gets the rank's batches w, w + W, w + 2 W and so on, which is the order in which
    a DataLoader asks its workers, so the k-th batch of a rank is the same with any number of them.

    Attributes:
        ranks: The rank.
        places: Places of the order.
        first: Place of the first row of rank 0.
        end: Place behind the last one; ``places`` and more stand for the first places again.
        worker: Number of the worker and how many there are; None outside of one.
    """

    ranks: Ranks
    places: int
    first: int
    end: int
    worker: tuple[int, int] | None = None

    start = 0

    @cached_property
    def rank_rows(self) -> int:
        """Return the rows of the rank, all workers together."""
        return max(0, -(-(self.end - self.first - self.ranks.number) // self.ranks.count))

    @cached_property
    def _rows(self) -> int:
        if self.worker is None:
            return self.rank_rows
        number, workers = self.worker
        size = self.ranks.batch_size
        return Runs(size, workers).count(max(self.rank_rows - number * size, 0))

    def __len__(self) -> int:
        return self._rows

    @property
    def ends_the_epoch(self) -> bool:
        """Return whether behind the last row nothing is left of the epoch, for no rank."""
        is_even = self.worker is not None or self.ranks.tail != UNEVEN
        return is_even or self.first + self.ranks.count * self._rows >= self.end

    def segments(self, row: int) -> Iterator[Segment]:
        """Yield the places of the rows from the ``row``-th on."""
        step, size = self.ranks.count, self.ranks.batch_size
        while row < len(self):
            at = self._rank_row(row)
            place = self.first + self.ranks.number + step * at
            lap = place - place % self.places
            stop = min(self.end, lap + self.places)
            spread = range(place - lap, stop - lap, step)
            runs = None if self.worker is None else Runs(size, self.worker[1], row % size)
            segment = Segment(spread, runs)
            yield segment
            row += len(segment)

    def saved(self, row: int) -> int:
        """Return what a state says at the ``row``-th row: the places that are consumed.

        A worker's state counts its own rows.
        """
        return row if self.worker is not None else self.first + self.ranks.count * row

    def restored(self, value: int) -> int:
        """Return the row of what a state says.

        Raises:
            StateRefused: No row of this rank stands there.
        """
        if self.worker is not None:
            return value
        row, rest = divmod(value - self.first, self.ranks.count)
        if rest and value >= self.end:
            return len(self)
        if rest or row < 0:
            raise StateRefused(
                f"The state stands at place {value:,}, where {self.ranks.count} ranks that began "
                f"at place {self.first:,} never stand."
            )
        return row

    def numbers(self, row: int) -> Iterator[int]:
        """Yield the places of the rows from the ``row``-th on, one by one."""
        for segment in self.segments(row):
            yield from segment.each()

    def _rank_row(self, row: int) -> int:
        if self.worker is None:
            return row
        number, workers = self.worker
        batch, within = divmod(row, self.ranks.batch_size)
        return (number + workers * batch) * self.ranks.batch_size + within
