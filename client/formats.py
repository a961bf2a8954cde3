"""The formats rows and batches come in, as ``with_format`` of ``datasets`` has them.

A format is a name and what follows from it. It gives *forms*: a form makes rows, or batches, out
of blocks where rows are still columns, and out of single rows where they no longer are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from fdss.backend import Chunk, FeaturesJson, Row
from fdss.rows import RowMaker

from .batches import batch_of
from .formats_blocks import Block, BlockRow, Kinds, block_of, check_columns, joined, table_of


class Form:
    """What rows become for whoever asks for them; here they stay blocks and rows of blocks.

    Attributes:
        keeps_rows: Rows that are dicts come out as they are.
    """

    keeps_rows = False

    def of_chunk(self, chunk: Chunk, kinds: Kinds | None) -> Iterable[Any]:
        """Return the rows of a chunk."""
        block = block_of(chunk, kinds)
        return map(self.of_row, chunk.rows()) if block is None else self.of_block(block)

    def of_block(self, block: Block) -> Any:
        """Return the rows of a block, or all of it as one batch."""
        return block.rows()

    def of_row(self, row: Any) -> Any:
        """Return one row that came out of a step."""
        return row

    def of_rows(self, rows: list[Any]) -> Any:
        """Return rows that came out of a step as one batch."""
        return rows


class Plain(Form):
    """Rows as dicts of Python values, and batches as lists of such rows."""

    keeps_rows = True

    def of_chunk(self, chunk: Chunk, kinds: Kinds | None) -> Iterable[Any]:
        """Return the rows of a chunk."""
        return chunk.rows()

    def of_block(self, block: Block) -> list[Row]:
        """Return the rows."""
        maker = RowMaker(block.known().told)
        return [row for batch in block.table.to_batches() for row in maker.rows(batch)]

    def of_row(self, row: Any) -> Any:
        """Return one row."""
        return self.of_block(row.alone())[0] if isinstance(row, BlockRow) else row

    def of_rows(self, rows: list[Any]) -> list[Row]:
        """Return the rows."""
        return self.of_block(joined(rows)) if _are_columns(rows) else rows


class PlainColumns(Plain):
    """Batches as dicts of lists of Python values."""

    def of_block(self, block: Block) -> Any:
        """Return the columns."""
        maker = RowMaker(block.known().told)
        parts = [maker.columns(batch) for batch in block.table.to_batches()]
        if len(parts) == 1:
            return parts[0]
        return {name: [value for part in parts for value in part[name]] for name in parts[0]}

    def of_rows(self, rows: list[Any]) -> Any:
        """Return the columns."""
        return self.of_block(joined(rows)) if _are_columns(rows) else batch_of(rows)


class PlainKept(Form):
    """Batches as dicts of lists, each with its rows."""

    def of_block(self, block: Block) -> tuple[dict[str, list[Any]], list[Row]]:
        """Return columns and rows."""
        return self.of_rows(Plain().of_block(block))

    def of_rows(self, rows: list[Any]) -> tuple[dict[str, list[Any]], list[Row]]:
        """Return columns and rows."""
        rows = Plain().of_rows(rows)
        return batch_of(rows), rows


class Blocks(Form):
    """Batches as blocks.

    Args:
        told: Features of the rows that come as dicts; None for what their values say.
    """

    def __init__(self, told: FeaturesJson | None) -> None:
        self._kinds = None if told is None else Kinds(told)

    def of_block(self, block: Block) -> Block:
        """Return the block."""
        return block

    def of_rows(self, rows: list[Any]) -> Block:
        """Return rows as a block."""
        if _are_columns(rows):
            return joined(rows)
        return Block.of_table(table_of(rows), self._kinds)


class Gathering(Form):
    """Batches as one row of lists.

    Args:
        columns: The form of the lists, where rows are columns no longer.
    """

    def __init__(self, columns: Form) -> None:
        self._columns = columns

    def of_block(self, block: Block) -> Block:
        """Return a block of one row."""
        return block.gathered()

    def of_rows(self, rows: list[Any]) -> Any:
        """Return the row as a list, or as a block."""
        if _are_columns(rows):
            return self.of_block(joined(rows))
        columns = self._columns.of_rows(rows)
        return columns.gathered() if isinstance(columns, Block) else [columns]


class PlainGathering(PlainColumns):
    """Batches as one row of lists of Python values."""

    def of_block(self, block: Block) -> Any:
        """Return the row."""
        return [super().of_block(block)]

    def of_rows(self, rows: list[Any]) -> Any:
        """Return the row."""
        return self.of_block(joined(rows)) if _are_columns(rows) else [batch_of(rows)]


class Renaming(Form):
    """A form of rows whose columns are other ones.

    Args:
        form: What becomes of them.
        names: From the columns there are to the new ones, each with its old name.
    """

    def __init__(self, form: Form, names: Any) -> None:
        self._form = form
        self._names = names

    def of_chunk(self, chunk: Chunk, kinds: Kinds | None) -> Iterable[Any]:
        """Return the rows of a chunk."""
        if self._form.keeps_rows:
            return map(self._row, self._form.of_chunk(chunk, kinds))
        return super().of_chunk(chunk, kinds)

    def of_block(self, block: Block) -> Any:
        """Return the rows or the batch of a block."""
        return self._form.of_block(self._block(block))

    def of_row(self, row: Any) -> Any:
        """Return one row."""
        if isinstance(row, BlockRow):
            return self._form.of_row(BlockRow(self._block(row.alone()), 0))
        return self._form.of_row(self._row(row))

    def of_rows(self, rows: list[Any]) -> Any:
        """Return a batch."""
        if _are_columns(rows):
            return self.of_block(joined(rows))
        return self._form.of_rows([self._row(row) for row in rows])

    def _block(self, block: Block) -> Block:
        return block.renamed(self._names(tuple(block.table.column_names)))

    def _row(self, row: Any) -> Any:
        # A row that a program made may be None; it has no columns, old or new.
        if row is None:
            return None
        names = self._names(tuple(row))
        try:
            return {new: row[old] for new, old in names.items()}
        except KeyError:
            check_columns(row, names.values())
            raise


class Format(ABC):
    """What rows and batches come as.

    Attributes:
        name: How ``with_format`` names it.
        is_table: Functions of steps are given tables and return tables.
    """

    name: str
    is_table = False

    @abstractmethod
    def rows(self, told: FeaturesJson | None) -> Form:
        """Return the form of the rows of an iteration.

        Args:
            told: Features of rows that no longer are columns; None when they are not known.
        """

    @abstractmethod
    def batches(self, told: FeaturesJson | None) -> Form:
        """Return the form of the batches of an iteration."""

    @abstractmethod
    def given_rows(self, told: FeaturesJson | None) -> Form:
        """Return the form of rows that the function of a step is given."""

    @abstractmethod
    def given_batches(self, told: FeaturesJson | None) -> Form:
        """Return the form of columns that the function of a step is given."""

    @abstractmethod
    def kept_batches(self, told: FeaturesJson | None) -> Form:
        """Return the form of batches of which a step keeps some rows: columns, and the rows."""

    @abstractmethod
    def gathering(self, told: FeaturesJson | None) -> Form:
        """Return the form of batches that become one row."""


class PythonFormat(Format):
    """Python values."""

    name = "python"

    def rows(self, told: FeaturesJson | None) -> Form:
        """Return dicts."""
        return Plain()

    def batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of lists."""
        return PlainColumns()

    def given_rows(self, told: FeaturesJson | None) -> Form:
        """Return dicts."""
        return Plain()

    def given_batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of lists."""
        return PlainColumns()

    def kept_batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of lists, and lists of dicts."""
        return PlainKept()

    def gathering(self, told: FeaturesJson | None) -> Form:
        """Return dicts of lists."""
        return PlainGathering()


PYTHON = PythonFormat()


def _are_columns(rows: list[Any]) -> bool:
    return bool(rows) and isinstance(rows[0], BlockRow)
