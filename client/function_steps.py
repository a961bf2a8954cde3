"""The steps that call a user's function: map and filter, of rows and of batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from fdss.backend import FeaturesJson, Row
from fdss.errors import BadRequest

from .batches import Columns, rows_of, without
from .formats_blocks import Block, Kinds
from .formats_tables import TableFormat, table_made
from .nodes import DROPPED, Batching, BatchNode, Node, RowNode, State
from .shares import Numbering
from .steps import Call, Formatted


@dataclass(frozen=True)
class FunctionStep(Formatted):
    """A step that calls a function.

    Attributes:
        call: The function.
        is_batched: It is given batches.
    """

    is_batched: ClassVar[bool] = False

    call: Call

    @abstractmethod
    def table(self, block: Block, given: Any, index: Any) -> Block:
        """Return what becomes of a block, in a format of tables.

        Args:
            given: The block as the function is given it.
            index: Number of its row, or of each.
        """

    @abstractmethod
    def open_dicts(self, source: Node, state: State | None, seen: Numbering) -> Node:
        """Return the node, in a format whose rows are dicts."""

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node."""
        if not isinstance(self.format, TableFormat):
            return self.open_dicts(source, state, seen)
        return BatchNode(
            source,
            self._on_table,
            self.format.given_batches(told),
            Batching(getattr(self, "batch_rows", 1), getattr(self, "drop_last", False)),
            state=state,
            seen=seen,
        )

    def _on_table(self, block: Block, numbers: list[int]) -> Block:
        assert isinstance(self.format, TableFormat)
        is_typed = self.call.input_columns is not None
        given = block.typed() if is_typed else self.format.table(block)
        return self.table(block, given, numbers if self.is_batched else numbers[0])


@dataclass(frozen=True)
class MapStep(FunctionStep):
    """Merge a function's result over what it was given.

    Attributes:
        remove_columns: Columns that do not come out unless the function makes them.
        features: Features of the rows that come out; None when they are not known.
    """

    remove_columns: Columns = ()
    features: FeaturesJson | None = None

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns of the features; without them the function decides."""
        return None if self.features is None else tuple(self.features)

    def features_after(self, told: FeaturesJson | None) -> FeaturesJson | None:
        """Return the features that were said."""
        return self.features

    def table(self, block: Block, given: Any, index: Any) -> Block:
        """Return the table that the function returned; nothing is merged."""
        made = table_made(self.call(given, index), self.call.label)
        removed = [name for name in self.remove_columns if name in made.column_names]
        kinds = None if self.features is None else Kinds(self.features)
        return Block.of_table(made.drop_columns(removed), kinds)


@dataclass(frozen=True)
class Map(MapStep):
    """Merge a function's result over each row; a result of None drops the row."""

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return what identifies the step."""
        return "map"

    @property
    def is_one_to_one(self) -> bool:
        """Return whether no row becomes two, as a table may that the function returns."""
        return not self.format.is_table

    def open_dicts(self, source: Node, state: State | None, seen: Numbering) -> Node:
        """Return the node."""
        return RowNode(source, self.row, self.format.given_rows(None), state, seen)

    def row(self, row: Row, index: int) -> Any:
        """Return the merged row."""
        result = self.call(row, index)
        if result is None:
            return DROPPED
        _check_mapping(self.call, result)
        return {**without(row, self.remove_columns), **result}


@dataclass(frozen=True)
class BatchMap(MapStep):
    """Merge a function's columns over each batch of rows; it may return more or fewer rows.

    Attributes:
        batch_rows: Rows of a batch; None for all rows at once.
        drop_last: Leave out a last batch that is short.
    """

    is_batched: ClassVar[bool] = True

    batch_rows: int | None = None
    drop_last: bool = False

    @property
    def name(self) -> str:
        """Return the name with the size of the batches, which a state depends on."""
        return f"map:{self.batch_rows}{':drop-last' * self.drop_last}"

    def open_dicts(self, source: Node, state: State | None, seen: Numbering) -> Node:
        """Return the node."""
        return BatchNode(
            source,
            self.batch,
            self.format.given_batches(None),
            Batching(self.batch_rows, self.drop_last),
            state=state,
            seen=seen,
        )

    def batch(self, batch: dict[str, Any], numbers: list[int]) -> list[Row]:
        """Return the merged rows.

        Raises:
            BadRequest: The columns that would come out have different lengths.
        """
        result = self.call(batch, numbers)
        _check_mapping(self.call, result)
        merged = {**without(batch, self.remove_columns), **result}
        lengths = {name: len(values) for name, values in merged.items()}
        if len(set(lengths.values())) > 1:
            raise BadRequest(
                f"map({self.call.label}) made columns of different lengths of a batch of "
                f"{len(numbers)} rows: {lengths}.",
                hint="name the columns that do not fit the new rows in remove_columns=",
            )
        return rows_of(merged)


@dataclass(frozen=True)
class FilterStep(FunctionStep):
    """Keep the rows for which a function returns something true."""

    def table(self, block: Block, given: Any, index: Any) -> Block:
        """Return the rows that are kept."""
        answers = self.call(given, index)
        if not hasattr(answers, "__len__"):
            answers = [bool(answers.as_py() if isinstance(answers, pa.Scalar) else answers)]
        if not isinstance(answers, pa.Array | pa.ChunkedArray):
            answers = pa.array(answers, pa.bool_())
        _check_answers(self.call, len(answers), len(block))
        return Block(block.table.filter(answers), block.kinds)


@dataclass(frozen=True)
class Filter(FilterStep):
    """Keep rows one by one."""

    @property
    def name(self) -> str:
        """Return what identifies the step."""
        return "filter"

    def open_dicts(self, source: Node, state: State | None, seen: Numbering) -> Node:
        """Return the node."""
        return RowNode(source, self.row, self.format.given_rows(None), state, seen)

    def row(self, row: Row, index: int) -> Any:
        """Return the row, or that it is dropped."""
        return row if self.call(row, index) else DROPPED


@dataclass(frozen=True)
class BatchFilter(FilterStep):
    """Keep the rows of a batch for which a function returns something true at their place.

    Attributes:
        batch_rows: Rows of a batch; None for all rows at once.
    """

    is_batched: ClassVar[bool] = True

    batch_rows: int | None

    @property
    def name(self) -> str:
        """Return the name with the size of the batches, which a state depends on."""
        return f"filter:{self.batch_rows}"

    def open_dicts(self, source: Node, state: State | None, seen: Numbering) -> Node:
        """Return the node."""
        return BatchNode(
            source,
            self.batch,
            self.format.kept_batches(None),
            Batching(self.batch_rows, False),
            state=state,
            seen=seen,
        )

    def batch(self, kept: Any, numbers: list[int]) -> list[Row]:
        """Return the rows that are kept.

        Raises:
            BadRequest: There is not one answer for each row.
        """
        batch, of_rows = kept
        answers = list(self.call(batch, numbers))
        _check_answers(self.call, len(answers), len(numbers))
        return [row for row, keep in zip(of_rows, answers, strict=True) if keep]


def _check_answers(call: Call, answers: int, rows: int) -> None:
    if answers != rows:
        raise BadRequest(
            f"filter({call.label}) answered {answers} times for {rows} rows.",
            hint="return one true or false value for each row of the batch",
        )


def _check_mapping(call: Call, result: Any) -> None:
    if not isinstance(result, Mapping):
        raise BadRequest(
            f"map({call.label}) returned {type(result).__name__}; it must return a dict of columns."
        )
