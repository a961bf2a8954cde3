"""Rows and batches as Arrow tables and pandas frames."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson
from fdss.errors import BadRequest, UncarriableValue

from .formats import Blocks, Form, Format, Gathering
from .formats_blocks import Block, Kinds


class TableFormat(Format):
    """Arrow tables or pandas frames.

    Args:
        name: "arrow" or "pandas".
    """

    is_table = True

    def __init__(self, name: str) -> None:
        self.name = name

    def rows(self, told: FeaturesJson | None) -> Form:
        """Return tables of one row."""
        return FrameRows(told) if self.name == "pandas" else ArrowRows(told)

    def batches(self, told: FeaturesJson | None) -> Form:
        """Return tables."""
        return FrameBatches(told) if self.name == "pandas" else ArrowBatches(told)

    def given_rows(self, told: FeaturesJson | None) -> Form:
        """Return blocks, which the step makes tables of."""
        return Blocks(told)

    def given_batches(self, told: FeaturesJson | None) -> Form:
        """Return blocks, which the step makes tables of."""
        return Blocks(told)

    def kept_batches(self, told: FeaturesJson | None) -> Form:
        """Return blocks, which the step makes tables of."""
        return Blocks(told)

    def gathering(self, told: FeaturesJson | None) -> Form:
        """Return blocks of one row."""
        return Gathering(Blocks(told))

    def table(self, block: Block) -> Any:
        """Return a block as the function of a step is given it."""
        table = block.typed()
        if self.name == "arrow":
            return table
        return _frame(table, None)


class ArrowRows(Blocks):
    """Rows as tables of one row."""

    def of_block(self, block: Block) -> Any:
        """Return the rows."""
        table = block.typed()
        return [table.slice(at, 1) for at in range(len(block))]

    def of_row(self, row: Any) -> Any:
        """Return one row."""
        return self.of_rows([row])[0]

    def of_rows(self, rows: list[Any]) -> Any:
        """Return the rows."""
        return self.of_block(super().of_rows(rows))


class ArrowBatches(Blocks):
    """Batches as tables."""

    def of_block(self, block: Block) -> Any:
        """Return the table."""
        return block.typed()

    def of_rows(self, rows: list[Any]) -> Any:
        """Return the table."""
        return self.of_block(super().of_rows(rows))


class FrameRows(ArrowRows):
    """Rows as frames of one row."""

    def of_block(self, block: Block) -> Any:
        """Return the rows."""
        rows = super().of_block(block)
        return [_frame(row, block.kinds) for row in rows]


class FrameBatches(ArrowBatches):
    """Batches as frames."""

    def of_block(self, block: Block) -> Any:
        """Return the frame."""
        return _frame(block.typed(), block.kinds)


def table_made(result: Any, label: str) -> pa.Table:
    """Return what a function made of a table.

    Raises:
        BadRequest: It is neither a table nor a frame.
    """
    if isinstance(result, pa.Table):
        return result
    import pandas as pd  # type: ignore[import-untyped]

    if isinstance(result, pd.DataFrame):
        return pa.Table.from_pandas(result)
    raise BadRequest(
        f"map({label}) was given a table and returned {type(result).__name__}; it must return a "
        "pyarrow.Table or a pandas.DataFrame.",
        hint='with_format("python") before the map gives it dicts',
    )


def _frame(table: pa.Table, kinds: Kinds | None) -> Any:
    from datasets.formatting import PandasFormatter

    features = None if kinds is None else kinds.features
    try:
        return PandasFormatter(features=features).format_batch(table)
    except (pa.ArrowException, TypeError, ValueError) as exc:
        raise UncarriableValue(
            f"Format 'pandas' has no form for a value in columns {table.column_names}: {exc}.",
            hint="leave such columns out, or read them in another format",
        ) from exc
