"""The steps that change which columns a row has, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fdss.backend import Row

from .batches import Columns, without
from .steps import RowStep


@dataclass(frozen=True)
class RemoveColumns(RowStep):
    """Leave columns out."""

    columns: Columns

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the columns."""
        return f"remove:{','.join(self.columns)}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns that are left."""
        return columns and tuple(name for name in columns if name not in self.columns)

    def row(self, row: Row, index: int) -> Row:
        """Return the row without them."""
        return without(row, self.columns)


@dataclass(frozen=True)
class SelectColumns(RowStep):
    """Keep only some columns, in the order they are named."""

    columns: Columns

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the columns."""
        return f"select:{','.join(self.columns)}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns that are kept."""
        return self.columns

    def row(self, row: Row, index: int) -> Row:
        """Return the row with only them."""
        return {name: row[name] for name in self.columns}


@dataclass(frozen=True)
class RenameColumn(RowStep):
    """Give a column another name, in its place."""

    old: str
    new: str

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with both names of the column."""
        return f"rename:{self.old}:{self.new}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns with the new name."""
        return columns and tuple(self.new if name == self.old else name for name in columns)

    def row(self, row: Row, index: int) -> Row:
        """Return the row with the new name."""
        return {self.new if name == self.old else name: value for name, value in row.items()}


@dataclass(frozen=True)
class IndexColumn(RowStep):
    """Add each row's number as a column."""

    column: str

    keeps_places: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the column."""
        return f"index:{self.column}"

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns and the new one."""
        return columns and (*(name for name in columns if name != self.column), self.column)

    def row(self, row: Row, index: int) -> Row:
        """Return the row with its number."""
        return {**without(row, (self.column,)), self.column: index}
