"""Pipelines as data, and what each gives in operations on plain lists.

The model below knows nothing of nodes, states, pages and chunks: it takes a list of rows, puts it
in the order of an epoch, and does one list operation a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from random_functions import (
    Fold,
    Keep,
    KeepAll,
    Mark,
    MarkAll,
    Repeat,
    Row,
    columns_of,
    rows_in,
)

from fdss.client import ComposableIterableDataset
from fdss.order import Order, epoch_seed

Rows = list[Row]


class Op(ABC):
    """One method of a dataset, with its arguments.

    Attributes:
        is_view: It chooses among the rows of the source, wherever it stands.
        keeps_places: The n-th row that comes out is the n-th that went in.
    """

    is_view: ClassVar[bool] = False
    keeps_places: ClassVar[bool] = False

    @abstractmethod
    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""

    @abstractmethod
    def model(self, rows: Rows) -> Rows:
        """Do the same to a list of rows."""

    def columns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns of the rows that come out."""
        return names


@dataclass(frozen=True)
class Cut(Op):
    """``slice``, ``select`` and both kinds of ``shard``."""

    method: str
    first: int
    second: int
    step: int = 1

    is_view: ClassVar[bool] = True

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        if self.method == "slice":
            return dataset.slice(self.first, self.second)
        if self.method == "select":
            return dataset.select(range(self.first, self.second, self.step))
        contiguous = self.method == "shard"
        return dataset.shard(self.first, self.second, contiguous=contiguous)

    def model(self, rows: Rows) -> Rows:
        """Cut the list."""
        if self.method in ("slice", "select"):
            return rows[self.first : self.second : self.step]
        if self.method == "shard":
            sizes = [len(rows[part :: self.first]) for part in range(self.first)]
            before = sum(sizes[: self.second])
            return rows[before : before + sizes[self.second]]
        return rows[self.second :: self.first]


@dataclass(frozen=True)
class Shuffle(Op):
    """``shuffle``."""

    seed: int
    window: int
    block: int

    is_view: ClassVar[bool] = True

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.shuffle(seed=self.seed, buffer_size=self.window, block_size=self.block)

    def model(self, rows: Rows) -> Rows:
        """Leave the list, whose order is that of an epoch."""
        raise NotImplementedError

    def of_epoch(self, rows: Rows, epoch: int) -> Rows:
        """Put the list in the order of an epoch."""
        order = Order(len(rows), epoch_seed(self.seed, epoch), self.block, self.window)
        return [rows[place] for place in order.rows(np.arange(len(rows))).tolist()]


@dataclass(frozen=True)
class Take(Op):
    """``take`` and ``skip``."""

    count: int
    skips: bool = False

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.skip(self.count) if self.skips else dataset.take(self.count)

    def model(self, rows: Rows) -> Rows:
        """Cut the list."""
        return rows[self.count :] if self.skips else rows[: self.count]


@dataclass(frozen=True)
class Map(Op):
    """``map`` of rows."""

    function: Mark
    with_indices: bool
    removed: tuple[str, ...]

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.map(
            self.function, with_indices=self.with_indices, remove_columns=self.removed
        )

    def model(self, rows: Rows) -> Rows:
        """Merge the function's result over each row."""
        made = []
        for index, row in enumerate(rows):
            result = self.function(row, index) if self.with_indices else self.function(row)
            if result is not None:
                kept = {k: v for k, v in (row or {}).items() if k not in self.removed}
                made.append({**kept, **result})
        return made

    def columns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns with the new one."""
        kept = [name for name in names if name not in self.removed]
        return tuple(dict.fromkeys((*kept, self.function.column)))


@dataclass(frozen=True)
class BatchMap(Op):
    """``map`` of batches."""

    function: MarkAll | Repeat | Fold
    with_indices: bool
    removed: tuple[str, ...]
    size: int | None
    drop_last: bool

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.map(
            self.function,
            with_indices=self.with_indices,
            batched=True,
            batch_size=self.size,
            drop_last_batch=self.drop_last,
            remove_columns=self.removed,
        )

    def model(self, rows: Rows) -> Rows:
        """Merge the function's columns over those of each batch."""
        made = []
        for first, part in parts(rows, self.size, self.drop_last):
            batch = columns_of(part)
            indices = list(range(first, first + len(part)))
            result = self.function(batch, indices) if self.with_indices else self.function(batch)
            kept = {k: v for k, v in batch.items() if k not in self.removed}
            made += rows_in({**kept, **result})
        return made

    def columns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns with the new one."""
        kept = [name for name in names if name not in self.removed]
        if not isinstance(self.function, Repeat):
            kept.append(self.function.column)
        return tuple(dict.fromkeys(kept))


@dataclass(frozen=True)
class Filter(Op):
    """``filter`` of rows and of batches."""

    function: Keep | KeepAll
    with_indices: bool
    size: int | None = None

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        batched = isinstance(self.function, KeepAll)
        return dataset.filter(
            self.function, with_indices=self.with_indices, batched=batched, batch_size=self.size
        )

    def model(self, rows: Rows) -> Rows:
        """Keep the rows that the function keeps."""
        if isinstance(self.function, Keep):
            numbers: Iterable[int] = range(len(rows)) if self.with_indices else [0] * len(rows)
            return [
                row for row, number in zip(rows, numbers, strict=True) if self.function(row, number)
            ]
        kept: Rows = []
        for first, part in parts(rows, self.size, False):
            answers = self.function(columns_of(part), range(first, first + len(part)))
            kept += [row for row, answer in zip(part, answers, strict=True) if answer]
        return kept


@dataclass(frozen=True)
class Columns(Op):
    """``remove_columns``, ``select_columns`` and ``rename_column``."""

    method: str
    names: tuple[str, ...]

    keeps_places: ClassVar[bool] = True

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        if self.method == "remove":
            return dataset.remove_columns(self.names)
        if self.method == "select":
            return dataset.select_columns(self.names)
        return dataset.rename_column(*self.names)

    def model(self, rows: Rows) -> Rows:
        """Give every row its new columns; a row that is None has none."""
        return [None if row is None else self._row(row) for row in rows]

    def _row(self, row: Row) -> Row:
        if self.method == "remove":
            return {name: row[name] for name in row if name not in self.names}
        if self.method == "select":
            return {name: row[name] for name in self.names if name in row}
        old, new = self.names
        return {new if name == old else name: value for name, value in row.items()}

    def columns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the new columns."""
        return tuple(self._row(dict.fromkeys(names)))


@dataclass(frozen=True)
class Number(Op):
    """``with_indices``."""

    column: str
    first: int = 0

    keeps_places: ClassVar[bool] = True

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.with_indices(self.column)

    def model(self, rows: Rows) -> Rows:
        """Give every row its number."""
        return [
            {**{k: v for k, v in (row or {}).items() if k != self.column}, self.column: number}
            for number, row in enumerate(rows, self.first)
        ]

    def columns(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns with the new one at their end."""
        return (*(name for name in names if name != self.column), self.column)


@dataclass(frozen=True)
class Batch(Op):
    """``batch``."""

    size: int
    drop_last: bool

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.batch(self.size, drop_last_batch=self.drop_last)

    def model(self, rows: Rows) -> Rows:
        """Gather rows into rows of lists."""
        return [columns_of(part) for _, part in parts(rows, self.size, self.drop_last)]


@dataclass(frozen=True)
class Format(Op):
    """``with_format``, of formats whose rows are dicts."""

    name: str

    keeps_places: ClassVar[bool] = True

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the method."""
        return dataset.with_format(self.name)

    def model(self, rows: Rows) -> Rows:
        """Leave the list: values stay what they are."""
        return rows


def parts(rows: Rows, size: int | None, drop_last: bool) -> Iterator[tuple[int, Rows]]:
    """Yield consecutive parts of a list, each with the number of its first row."""
    size = size or len(rows) or 1
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        if len(part) == size or not drop_last:
            yield first, part


@dataclass(frozen=True)
class Pipeline:
    """A chain of methods."""

    ops: tuple[Op, ...]

    def on(self, dataset: ComposableIterableDataset) -> ComposableIterableDataset:
        """Call the methods of a dataset, one after the other."""
        for op in self.ops:
            dataset = op.on(dataset)
        return dataset

    def expected(
        self, stored: Sequence[Row], epoch: int, share: Callable[[Rows], Rows] = list
    ) -> Rows:
        """Return the rows of an epoch, by operations on lists.

        Args:
            share: From the rows of the order to those of one rank.
        """
        rows, shuffle = list(stored), None
        cuts: list[Op] = []
        steps: list[Op] = []
        for op in self.ops:
            places = all(step.keeps_places for step in steps)
            if isinstance(op, Shuffle):
                shuffle = op
            elif op.is_view or (isinstance(op, Take) and places):
                cuts.append(op)
                if isinstance(op, Take) and op.skips:
                    steps = [_numbered(step, op.count) for step in steps]
            else:
                steps.append(op)
            if shuffle is None and cuts:
                rows, cuts = cuts[0].model(rows), []
        if shuffle is not None:
            rows = shuffle.of_epoch(rows, epoch)
        for op in cuts:
            rows = op.model(rows)
        rows = share(rows)
        for op in steps:
            rows = op.model(rows)
        return rows


def _numbered(step: Op, skipped: int) -> Op:
    return replace(step, first=step.first + skipped) if isinstance(step, Number) else step
