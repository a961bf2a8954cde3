"""The part of a dataset that is read, and the order it is read in: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from fdss.backend import (
    DEFAULT_BLOCK_ROWS,
    MAX_BLOCK_ROWS,
    MAX_SEED,
    MAX_WINDOW_ROWS,
    Selection,
)
from fdss.errors import BadParameter, UnsupportedStep
from fdss.order import epoch_seed

from .shares import Segment

Bound = int | float | str | None


@dataclass(frozen=True)
class Shuffle:
    """A shuffled order: its base seed, and how far rows are mixed.

    Attributes:
        seed: Seed of epoch 0, 0 to 2**64 - 1; other epochs hash it with their number.
        window: Positions mixed among themselves, 0 (off) to 131,072.
        block: Stored rows that stay together before the window mixes them, 1 to 65,536.
        is_drawn: Whether the seed was drawn here, so that no other process has it.
    """

    seed: int
    window: int
    block: int = DEFAULT_BLOCK_ROWS
    is_drawn: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("buffer_size", self.window, 0, MAX_WINDOW_ROWS)
        _check_range("block_size", self.block, 1, MAX_BLOCK_ROWS)


@dataclass(frozen=True)
class View:
    """Which stored rows take part, in which order, and which places of that order are read.

    Without a shuffle ``positions`` is always all of ``rows``: slices then narrow ``rows``.
    After a shuffle they narrow ``positions``, so the shuffled set stays what it was.

    Attributes:
        rows: Stored rows that take part.
        positions: Places of their order, within ``range(len(rows))``.
        shuffle: The order; None keeps the stored one.
    """

    rows: range
    positions: range
    shuffle: Shuffle | None = None

    @classmethod
    def whole(cls, count: int) -> View:
        """Return the view of all ``count`` stored rows, in stored order."""
        return cls(range(count), range(count))

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, part: slice) -> View:
        """Return the view of a slice of these places, step 1 or more."""
        if self.shuffle is not None:
            return replace(self, positions=self.positions[part])
        rows = self.rows[part]
        return View(rows, range(len(rows)))

    def between(self, start: Bound, end: Bound) -> View:
        """Return the view of the places from ``start`` to ``end``, end excluded.

        A bound is a count (negative from the end), a fraction from 0.0 to 1.0, the text of one,
        or a percentage such as "10%".

        Raises:
            BadParameter: A bound is out of range, or nothing is left.
        """
        count = len(self)
        first = 0 if start is None else _place(start, count, "start")
        last = count if end is None else _place(end, count, "end")
        if not first < last:
            raise BadParameter(
                f"slice({start!r}, {end!r}) of {count:,} rows is empty: {first:,} to {last:,}."
            )
        return self[first:last]

    def among(self, indices: Iterable[int]) -> View:
        """Return the view of places that rise by one constant step.

        Raises:
            BadParameter: There are none, or one is out of range.
            UnsupportedStep: They do not rise by a constant step.
        """
        places = indices if isinstance(indices, range) else [int(index) for index in indices]
        if not places:
            raise BadParameter("select() was given no indices.")
        step = places[1] - places[0] if len(places) > 1 else 1
        is_even = isinstance(places, range) or all(
            after - before == step for before, after in pairwise(places)
        )
        if step < 1 or not is_even:
            raise UnsupportedStep(
                "select() takes indices that rise by a constant step; these do not.",
                hint="select a range, or filter(..., with_indices=True)",
            )
        if places[0] < 0 or places[-1] >= len(self):
            wrong = places[0] if places[0] < 0 else places[-1]
            raise BadParameter(f"select() was given index {wrong}; there are {len(self):,} rows.")
        return self[places[0] : places[-1] + 1 : step]

    def shard(self, num_shards: int, index: int, *, contiguous: bool) -> View:
        """Return one of ``num_shards`` disjoint parts; the first ones hold a row more.

        Raises:
            BadParameter: ``num_shards`` is below 1, or ``index`` is not below it.
        """
        if num_shards < 1 or not 0 <= index < num_shards:
            raise BadParameter(
                f"shard(num_shards={num_shards}, index={index}) is out of range.",
                hint="index goes from 0 to num_shards - 1",
            )
        if not contiguous:
            return self[index::num_shards]
        each, more = divmod(len(self), num_shards)
        begin = index * each + min(index, more)
        return self[begin : begin + each + (index < more)]

    def worker_part(self, worker: int, workers: int) -> View:
        """Return the contiguous part of one DataLoader worker, 0 to ``workers`` - 1."""
        each = -(-len(self) // workers)
        return self[worker * each : (worker + 1) * each]

    def shuffled(self, shuffle: Shuffle) -> View:
        """Return the view of the same rows in a shuffled order.

        A second shuffle takes the place of the first.

        Raises:
            UnsupportedStep: Rows were sliced out of a shuffled order before.
        """
        if self.shuffle is not None and self.positions != range(len(self.rows)):
            raise UnsupportedStep(
                "shuffle() cannot follow a slice of an already shuffled dataset.",
                hint="shuffle once: before the slice, or after it",
            )
        return replace(self, shuffle=shuffle)

    def selection(self, epoch: int, segment: Segment, columns: tuple[str, ...] | None) -> Selection:
        """Return what to read of an epoch for some of these places."""
        places = segment.places
        positions = self.positions[places.start : places.stop : places.step]
        if self.shuffle is None:
            return Selection(self.rows, positions, columns=columns, runs=segment.runs)
        return Selection(
            self.rows,
            positions,
            seed=epoch_seed(self.shuffle.seed, epoch),
            block=self.shuffle.block,
            window=self.shuffle.window,
            columns=columns,
            runs=segment.runs,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the view as it stands in a saved state."""
        shuffle = self.shuffle
        return {
            "rows": [self.rows.start, self.rows.stop, self.rows.step],
            "positions": [self.positions.start, self.positions.stop, self.positions.step],
            "shuffle": shuffle
            and {"seed": shuffle.seed, "window": shuffle.window, "block": shuffle.block},
        }


def _place(bound: int | float | str, count: int, name: str) -> int:
    place = bound if isinstance(bound, int) else round(_fraction(bound, name) * count)
    if place < 0:
        place += count
    if not 0 <= place <= count:
        raise BadParameter(f"slice() {name}={bound!r} is out of range; there are {count:,} rows.")
    return place


def _fraction(bound: float | str, name: str) -> float:
    try:
        percent = isinstance(bound, str) and bound.strip().endswith("%")
        fraction = float(bound.strip()[:-1]) / 100 if percent else float(bound)  # type: ignore[union-attr]
    except ValueError:
        raise BadParameter(
            f"slice() {name}={bound!r} is not a number, a fraction or a percentage.",
            hint='write 100, 0.1 or "10%"',
        ) from None
    if not 0 <= fraction <= 1:
        raise BadParameter(f"slice() {name}={bound!r} is not between 0.0 and 1.0 (0% and 100%).")
    return fraction


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadParameter(f"shuffle() {name}={value!r} is not an integer from {least} to {most}.")
