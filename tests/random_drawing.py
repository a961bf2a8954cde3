"""How random pipelines are drawn: step by step, so that every one of them is valid."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import settings, strategies as st
from random_functions import Fold, Keep, KeepAll, Mark, MarkAll, Repeat
from random_pipelines import (
    Batch,
    BatchMap,
    Columns,
    Cut,
    Filter,
    Format,
    Map,
    Number,
    Op,
    Pipeline,
    Shuffle,
    Take,
)

#: How many examples each test tries; 0 for a few, the same in every run.
_HUNTED = int(os.environ.get("RANDOM_PIPELINES", "0"))

_NEW_NAMES = st.sampled_from(["a", "b", "n", "index"])


def examples(count: int) -> settings:
    """Return settings for ``count`` reproducible examples, or for RANDOM_PIPELINES random ones."""
    return settings(
        max_examples=_HUNTED or count, derandomize=not _HUNTED, deadline=None, database=None
    )


class _Drawing:
    """A pipeline that is being drawn: its methods, and what is known of its rows so far.

    Args:
        rows: Rows of the source.
        columns: Columns of the source.
        uniform: Every row has every column.
        counts: Steps may count rows: their numbers, and how many come out.
        formats: Functions may be given rows in other formats.
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        rows: int,
        columns: tuple[str, ...],
        *,
        uniform: bool,
        counts: bool,
        formats: bool,
    ) -> None:
        self.draw = draw
        self.rows = rows
        self.columns = columns
        self.uniform = uniform
        self.counts = counts
        self.formats = formats
        self.ops: list[Op] = []
        self.places = True
        self.cutting = False
        self.shuffled = False
        self.cut_since = False

    def add(self) -> None:
        """Draw one more method."""
        kinds: list[Callable[[], Op | None]] = [self.map, self.batch_map, self.filter]
        kinds += [self.columns_op, self.batch]
        if self.counts:
            kinds += [self.take, self.number]
        if self.formats:
            kinds.append(self.format)
        if not self.cutting:
            kinds.append(self.cut)
            if not (self.shuffled and self.cut_since):
                kinds.append(self.shuffle)
        op = self.draw(st.sampled_from(kinds))()
        if op is None:
            return
        self.ops.append(op)
        if isinstance(op, Shuffle):
            self.shuffled = True
        elif op.is_view or (isinstance(op, Take) and self.places):
            self.cut_since = self.shuffled
            self.rows = len(op.model(list(range(self.rows))))
        else:
            self.columns = op.columns(self.columns)
            self.places = self.places and op.keeps_places
            self.cutting = self.cutting or isinstance(op, Take)

    def integer(self, least: int, most: int) -> int:
        return int(self.draw(st.integers(least, most)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def indices(self) -> bool:
        return self.counts and self.flag()

    def some_columns(self) -> tuple[str, ...]:
        if not self.columns:
            return ()
        return tuple(self.draw(st.lists(st.sampled_from(self.columns), unique=True)))

    def cut(self) -> Op | None:
        method = self.draw(st.sampled_from(["slice", "select", "shard", "stride"]))
        if method in ("shard", "stride"):
            shards = self.integer(1, 4)
            return Cut(method, shards, self.integer(0, shards - 1))
        if not self.rows:
            return None
        first = self.integer(0, self.rows - 1)
        last = self.integer(first + 1, self.rows)
        return Cut(method, first, last, self.integer(1, 3) if method == "select" else 1)

    def shuffle(self) -> Op:
        seed = self.draw(st.integers(0, 5) | st.sampled_from([2**63, 2**64 - 1]))
        return Shuffle(seed, self.draw(st.sampled_from([0, 3, 8, 1000])), self.integer(1, 5))

    def take(self) -> Op:
        return Take(self.integer(0, self.rows + 2), self.flag())

    def map(self) -> Op:
        mark = Mark(self.draw(_NEW_NAMES), self.draw(st.sampled_from([0, 2, 3])))
        return Map(mark, self.indices(), self.some_columns())

    def batch_map(self) -> Op:
        size = self.draw(st.sampled_from([1, 2, 3, 5, 1000, None]))
        drops = size is not None and self.flag()
        kind = self.integer(0, 2)
        if kind == 0:
            mark = MarkAll(self.draw(_NEW_NAMES))
            return BatchMap(mark, self.indices(), self.some_columns(), size, drops)
        if kind == 1:
            times = tuple(self.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)))
            return BatchMap(Repeat(times), self.indices(), (), size, drops)
        return BatchMap(Fold(self.draw(_NEW_NAMES)), self.indices(), self.columns, size, drops)

    def filter(self) -> Op:
        modulus = self.integer(1, 4)
        if self.indices():
            return Filter(KeepAll(modulus), True, self.draw(st.sampled_from([1, 2, 4, None])))
        return Filter(Keep(modulus), self.indices())

    def columns_op(self) -> Op | None:
        method = self.draw(st.sampled_from(["remove", "select", "rename"]))
        if method != "rename":
            is_known = self.uniform or not self.ops
            return Columns(method if is_known else "remove", self.some_columns())
        old, new = self.draw(st.sampled_from(self.columns or ("",))), self.draw(_NEW_NAMES)
        return Columns(method, (old, new)) if old and new not in self.columns else None

    def number(self) -> Op:
        return Number(self.draw(_NEW_NAMES))

    def format(self) -> Op:
        return Format(self.draw(st.sampled_from(["numpy", "python"])))

    def batch(self) -> Op:
        return Batch(self.integer(1, 4), self.flag())


@st.composite
def pipelines(
    draw: Callable[..., Any],
    rows: int,
    columns: tuple[str, ...],
    *,
    uniform: bool = True,
    counts: bool = True,
    formats: bool = False,
) -> Pipeline:
    """Draw a chain of up to six methods for a source of some rows and columns."""
    drawing = _Drawing(draw, rows, columns, uniform=uniform, counts=counts, formats=formats)
    for _ in range(draw(st.integers(0, 6))):
        drawing.add()
    return Pipeline(tuple(drawing.ops))


@st.composite
def ragged_rows(draw: Callable[..., Any]) -> list[Any]:
    """Draw rows of a program of its own: dicts, empty dicts and None."""
    kinds = draw(st.lists(st.integers(0, 5), max_size=14))
    whole = [
        {"n": at, "text": "x" * (at % 3), "maybe": at if at % 4 else None}
        for at in range(len(kinds))
    ]
    return [{4: {}, 5: None}.get(kind, row) for kind, row in zip(kinds, whole, strict=True)]
