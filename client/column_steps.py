"""The steps that change which columns a row has, and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from fdss.backend import FeaturesJson, Row

from .batches import Columns, without
from .formats import Form, Renaming
from .formats_blocks import Block, Kinds
from .nodes import Batching, BatchNode, Node, RowNode, SeeingNode, State
from .shares import Numbering
from .steps import Formatted, Step


class ColumnNode(SeeingNode):
    """Rows with other columns, which may stay columns.

    Args:
        names: From the columns there are to the new ones, each with its old name.
    """

    def __init__(
        self,
        source: Node,
        names: Callable[[Columns], dict[str, str]],
        state: State | None,
        seen: Numbering,
    ) -> None:
        super().__init__(source, state, seen)
        self._names = names

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the rows with the new columns."""
        for row in self._source.rows(Renaming(form, self._names)):
            self._seen += 1
            yield row

    def batches(self, form: Form, most: int | None) -> Iterator[tuple[int, Any]]:
        """Yield the same rows by the batch."""
        for rows, batch in self._source.batches(Renaming(form, self._names), most):
            self._seen += rows
            yield rows, batch


class ColumnStep(Step):
    """A step that leaves values as they are, and columns as columns."""

    keeps_places: ClassVar[bool] = True

    @abstractmethod
    def names(self, columns: Columns) -> dict[str, str]:
        """Return the new columns, each with the name it has among ``columns``."""

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the new columns."""
        return columns and tuple(self.names(columns))

    def features_after(self, told: FeaturesJson | None) -> FeaturesJson | None:
        """Return the features of the new columns."""
        return told and {new: told[old] for new, old in self.names(tuple(told)).items()}

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node."""
        return ColumnNode(source, self.names, state, seen)


@dataclass(frozen=True)
class RemoveColumns(ColumnStep):
    """Leave columns out."""

    columns: Columns

    @property
    def name(self) -> str:
        """Return the name with the columns."""
        return f"remove:{','.join(self.columns)}"

    def names(self, columns: Columns) -> dict[str, str]:
        """Return the columns that are left."""
        return {name: name for name in columns if name not in self.columns}


@dataclass(frozen=True)
class SelectColumns(ColumnStep):
    """Keep only some columns, in the order they are named."""

    columns: Columns

    @property
    def name(self) -> str:
        """Return the name with the columns."""
        return f"select:{','.join(self.columns)}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns that are kept."""
        return self.columns

    def names(self, columns: Columns) -> dict[str, str]:
        """Return the columns that are kept."""
        return {name: name for name in self.columns}


@dataclass(frozen=True)
class RenameColumn(ColumnStep):
    """Give a column another name, in its place."""

    old: str
    new: str

    @property
    def name(self) -> str:
        """Return the name with both names of the column."""
        return f"rename:{self.old}:{self.new}"

    def names(self, columns: Columns) -> dict[str, str]:
        """Return the columns, one with its new name."""
        return {self.new if name == self.old else name: name for name in columns}


@dataclass(frozen=True)
class IndexColumn(Formatted):
    """Add each row's number as a column.

    Attributes:
        first: Number of the first row.
    """

    column: str
    first: int = 0

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the column and the first number."""
        return f"index:{self.column}{f':{self.first}' if self.first else ''}"

    def skipping(self, rows: int) -> IndexColumn:
        """Return the step that goes on counting behind the rows that are left out."""
        return replace(self, first=self.first + rows)

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns and the new one."""
        if columns is None:
            return None
        return (*(name for name in columns if name != self.column), self.column)

    def features_after(self, told: FeaturesJson | None) -> FeaturesJson | None:
        """Return the features and that of the new column."""
        index = {"dtype": "int64", "_type": "Value"}
        return None if told is None else {**without(told, (self.column,)), self.column: index}

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node."""
        if not self.format.is_table:
            return RowNode(source, self.row, self.format.given_rows(told), state, seen)
        after = self.features_after(told)
        kinds = None if after is None else Kinds(after)

        def function(block: Block, rows: list[int]) -> Block:
            kept = [name for name in block.table.column_names if name != self.column]
            numbers = pa.array([self.first + row for row in rows], pa.int64())
            table = block.table.select(kept).append_column(self.column, numbers)
            return Block(table, kinds)

        form = self.format.given_batches(told)
        return BatchNode(source, function, form, Batching(1, False), state=state, seen=seen)

    def row(self, row: Row, index: int) -> Row:
        """Return the row with its number."""
        return {**without(row, (self.column,)), self.column: self.first + index}
