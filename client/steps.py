"""The steps of a pipeline: small immutable descriptions, each of which opens one node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fdss.backend import Row
from fdss.errors import BadRequest

from .batches import Columns, batch_of, rows_of, without
from .nodes import DROPPED, BatchNode, Node, RowNode, SkipNode, State, TakeNode


@dataclass(frozen=True)
class Call:
    """A user's function and how it is called.

    Attributes:
        function: Called with the row (or its ``input_columns``, one by one), the index when
            ``with_indices``, and ``fn_kwargs``.
        input_columns: Columns passed one by one instead of the row.
    """

    function: Callable[..., Any]
    with_indices: bool = False
    input_columns: Columns | None = None
    fn_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, row: Row, index: Any) -> Any:
        """Return the function's result; of a batch, ``row`` holds columns and ``index`` a list."""
        given = [row] if self.input_columns is None else [row[name] for name in self.input_columns]
        if self.with_indices:
            given.append(index)
        return self.function(*given, **self.fn_kwargs)

    @property
    def label(self) -> str:
        """Return the function's name for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)


class Step(ABC):
    """One step of a pipeline.

    Attributes:
        keeps_places: A row that comes out stands where its row went in.
        cuts_output: The step counts the rows that reach it, so the view below must stay.
    """

    keeps_places: ClassVar[bool] = False
    cuts_output: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what identifies the step in a saved state; functions have no part in it."""

    @abstractmethod
    def open(self, source: Node, state: State | None, seen: int) -> Node:
        """Return the node that does the step, from a state or from the start.

        Args:
            seen: Number of the first row, when there is no state.
        """

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns of the rows that come out; None when only a row can tell."""
        return columns


class RowStep(Step):
    """A step that looks at one row at a time."""

    @abstractmethod
    def row(self, row: Row, index: int) -> Any:
        """Return what becomes of one row."""

    def open(self, source: Node, state: State | None, seen: int) -> Node:
        """Return the node."""
        return RowNode(source, self.row, state, seen)


class BatchStep(Step):
    """A step that looks at a batch of rows at a time.

    Attributes:
        batch_rows: Rows of a batch; None for all rows at once.
        drop_last: Leave out a last batch that is short.
    """

    batch_rows: int | None
    drop_last: bool = False

    @abstractmethod
    def batch(self, rows: list[Row], first: int) -> list[Row]:
        """Return what becomes of a batch whose first row has number ``first``."""

    def open(self, source: Node, state: State | None, seen: int) -> Node:
        """Return the node."""
        return BatchNode(
            source,
            self.batch,
            batch_rows=self.batch_rows,
            drop_last=self.drop_last,
            state=state,
            seen=seen,
        )


@dataclass(frozen=True)
class Map(RowStep):
    """Merge a function's result over each row; a result of None drops the row."""

    call: Call
    remove_columns: Columns = ()

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return what identifies the step."""
        return "map"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return None: the function decides."""
        return None

    def row(self, row: Row, index: int) -> Any:
        """Return the merged row."""
        result = self.call(row, index)
        if result is None:
            return DROPPED
        _check_mapping(self.call, result)
        return {**without(row, self.remove_columns), **result}


@dataclass(frozen=True)
class BatchMap(BatchStep):
    """Merge a function's columns over each batch of rows; it may return more or fewer rows.

    Attributes:
        batch_rows: Rows of a batch; None for all rows at once.
        drop_last: Leave out a last batch that is short.
    """

    call: Call
    remove_columns: Columns
    batch_rows: int | None
    drop_last: bool

    @property
    def name(self) -> str:
        """Return the name with the size of the batches, which a state depends on."""
        return f"map:{self.batch_rows}{':drop-last' * self.drop_last}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return None: the function decides."""
        return None

    def batch(self, rows: list[Row], first: int) -> list[Row]:
        """Return the merged rows.

        Raises:
            BadRequest: The columns that would come out have different lengths.
        """
        batch = batch_of(rows)
        result = self.call(batch, list(range(first, first + len(rows))))
        _check_mapping(self.call, result)
        merged = {**without(batch, self.remove_columns), **result}
        lengths = {name: len(values) for name, values in merged.items()}
        if len(set(lengths.values())) > 1:
            raise BadRequest(
                f"map({self.call.label}) made columns of different lengths of a batch of "
                f"{len(rows)} rows: {lengths}.",
                hint="name the columns that do not fit the new rows in remove_columns=",
            )
        return rows_of(merged)


@dataclass(frozen=True)
class Filter(RowStep):
    """Keep the rows for which a function returns something true."""

    call: Call

    @property
    def name(self) -> str:
        """Return what identifies the step."""
        return "filter"

    def row(self, row: Row, index: int) -> Any:
        """Return the row, or that it is dropped."""
        return row if self.call(row, index) else DROPPED


@dataclass(frozen=True)
class BatchFilter(BatchStep):
    """Keep the rows of a batch for which a function returns something true at their place."""

    call: Call
    batch_rows: int | None

    @property
    def name(self) -> str:
        """Return the name with the size of the batches, which a state depends on."""
        return f"filter:{self.batch_rows}"

    def batch(self, rows: list[Row], first: int) -> list[Row]:
        """Return the rows that are kept.

        Raises:
            BadRequest: There is not one answer for each row.
        """
        kept = list(self.call(batch_of(rows), list(range(first, first + len(rows)))))
        if len(kept) != len(rows):
            raise BadRequest(
                f"filter({self.call.label}) answered {len(kept)} times for {len(rows)} rows.",
                hint="return one true or false value for each row of the batch",
            )
        return [row for row, keep in zip(rows, kept, strict=True) if keep]


@dataclass(frozen=True)
class Batch(BatchStep):
    """Gather rows into one row of columns.

    Attributes:
        batch_rows: Rows gathered, 1 or more.
        drop_last: Leave out a last batch that is short.
    """

    batch_rows: int
    drop_last: bool

    @property
    def name(self) -> str:
        """Return the name with the size of the batches, which a state depends on."""
        return f"batch:{self.batch_rows}{':drop-last' * self.drop_last}"

    def batch(self, rows: list[Row], first: int) -> list[Row]:
        """Return one row that holds all of them."""
        return [batch_of(rows)]


@dataclass(frozen=True)
class Take(Step):
    """Hand out the first rows only."""

    count: int

    cuts_output: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the count."""
        return f"take:{self.count}"

    def open(self, source: Node, state: State | None, seen: int) -> Node:
        """Return the node."""
        return TakeNode(source, self.count, state)


@dataclass(frozen=True)
class Skip(Step):
    """Leave out the first rows."""

    count: int

    cuts_output: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the count."""
        return f"skip:{self.count}"

    def open(self, source: Node, state: State | None, seen: int) -> Node:
        """Return the node."""
        return SkipNode(source, self.count, state)


def _check_mapping(call: Call, result: Any) -> None:
    if not isinstance(result, Mapping):
        raise BadRequest(
            f"map({call.label}) returned {type(result).__name__}; it must return a dict of columns."
        )
