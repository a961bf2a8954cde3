"""Rows and batches of numpy arrays and torch tensors."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson, Row
from fdss.errors import UncarriableValue
from fdss.rows import is_plain

from .batches import batch_of, rows_of
from .formats import Form, Format, Gathering
from .formats_blocks import Block, BlockRow, Kinds, joined
from .formats_columns import Columns, NumpyColumns, TorchColumns


class TensorFormat(Format):
    """Numpy arrays or torch tensors.

    Args:
        name: "numpy" or "torch".
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def rows(self, told: FeaturesJson | None) -> Form:
        """Return dicts of arrays."""
        return TensorRows(self.name)

    def batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of arrays."""
        return TensorBatches(self.name)

    def given_rows(self, told: FeaturesJson | None) -> Form:
        """Return dicts of arrays, single numbers of the types that arrays have."""
        return TensorSingles(self.name)

    def given_batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of arrays."""
        return TensorColumns(self.name)

    def kept_batches(self, told: FeaturesJson | None) -> Form:
        """Return dicts of arrays, and their rows."""
        return TensorKept(self.name)

    def gathering(self, told: FeaturesJson | None) -> Form:
        """Return a row of lists, where rows are columns no longer a row of arrays."""
        return Gathering(TensorColumns(self.name))


class TensorForm(Form):
    """Makes arrays: of most columns as a whole, of the others as ``datasets`` does it.

    Args:
        name: "numpy" or "torch".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._columns: Columns = TorchColumns() if name == "torch" else NumpyColumns()
        self._formatters: dict[tuple[str, ...], tuple[Kinds, Any]] = {}

    def of_row(self, row: Any) -> Any:
        """Return one row."""
        if isinstance(row, BlockRow):
            return self.of_block(row.alone())[0]
        return self._made(self._untyped.recursive_tensorize, row)

    def of_rows(self, rows: list[Any]) -> Any:
        """Return rows as one batch."""
        if rows and isinstance(rows[0], BlockRow):
            return self.of_block(joined(rows))
        return self._tensorized(rows)

    @cached_property
    def _untyped(self) -> Any:
        return _formatter(self._name, None)

    def _tensorized(self, rows: list[Row]) -> Any:
        tensorized = self._untyped.recursive_tensorize
        singly = [self._made(tensorized, row) for row in rows]
        return self._made(tensorized, batch_of(singly))

    def _made(self, function: Any, given: Any) -> Any:
        """Return what ``datasets`` makes of rows or columns."""
        try:
            return function(given)
        except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as exc:
            names = getattr(given, "column_names", None) or list(given or ())
            raise UncarriableValue(
                f"Format {self._name!r} has no form for a value in columns {names}: {exc}.",
                hint="leave such columns out, or read them in another format",
            ) from exc

    def _parts(self, block: Block) -> tuple[dict[str, Any], pa.Table, Any]:
        """Return the columns that are fast, a table of the others, and their formatter."""
        told = block.known().told
        made = {
            name: self._fast(block.column(name)) if is_plain(feature) else None
            for name, feature in told.items()
        }
        slow = tuple(name for name, values in made.items() if values is None)
        if not slow:
            return made, None, None
        rest = block.renamed({name: name for name in slow})
        # What a chunk holds has a say in the types of its values: pages must have none.
        return made, rest.typed().combine_chunks(), self._formatter(slow, rest.kinds)

    def _formatter(self, names: tuple[str, ...], kinds: Kinds | None) -> Any:
        if kinds is None:
            return self._untyped
        known = self._formatters.get(names)
        if known is None or known[0] is not kinds:
            known = self._formatters[names] = kinds, _formatter(self._name, kinds.features)
        return known[1]

    @abstractmethod
    def _fast(self, column: pa.Array) -> Any:
        """Return what becomes of a whole column; None leaves it to ``datasets``."""


class TensorRows(TensorForm):
    """Rows of an iteration."""

    def of_block(self, block: Block) -> list[Row]:
        """Return the rows."""
        made, slow, formatter = self._parts(block)
        if slow is not None:
            rows = [self._slow(formatter, slow.slice(at, 1)) for at in range(len(block))]
            made |= {name: [row[name] for row in rows] for name in slow.column_names}
        return rows_of(made, len(block))

    def _fast(self, column: pa.Array) -> Any:
        return self._columns.rows(column)

    def _slow(self, formatter: Any, row: pa.Table) -> Row:
        return dict(self._made(formatter.format_row, row))


class TensorSingles(TensorRows):
    """Rows as the function of a step is given them: each the only one of a batch."""

    def _fast(self, column: pa.Array) -> Any:
        return self._columns.singles(column)

    def _slow(self, formatter: Any, row: pa.Table) -> Row:
        return {name: values[0] for name, values in self._made(formatter.format_batch, row).items()}


class TensorBatches(TensorForm):
    """Batches of an iteration."""

    def of_block(self, block: Block) -> Any:
        """Return the columns."""
        made, slow, formatter = self._parts(block)
        return made if slow is None else {**made, **self._slow(formatter, slow)}

    def _fast(self, column: pa.Array) -> Any:
        return self._columns.batch(column)

    def _slow(self, formatter: Any, table: pa.Table) -> dict[str, Any]:
        return dict(self._made(formatter.format_batch, table))


class TensorColumns(TensorBatches):
    """Batches as the function of a step is given them: rows of arrays, put together again."""

    def _fast(self, column: pa.Array) -> Any:
        return self._columns.given(column)

    def _slow(self, formatter: Any, table: pa.Table) -> dict[str, Any]:
        columns = {
            name: [values[at] for at in range(table.num_rows)]
            for name, values in self._made(formatter.format_batch, table).items()
        }
        return dict(self._made(self._untyped.recursive_tensorize, columns))


class TensorKept(TensorColumns):
    """Batches as the function of a step is given them, each with its rows."""

    def of_block(self, block: Block) -> tuple[dict[str, Any], list[Row]]:
        """Return columns and rows."""
        columns = super().of_block(block)
        return columns, rows_of(columns, len(block))

    def _tensorized(self, rows: list[Row]) -> tuple[dict[str, Any], list[Row]]:
        columns = super()._tensorized(rows)
        return columns, rows_of(columns, len(rows))


def _formatter(name: str, features: Any) -> Any:
    """Return a formatter of ``datasets``; a tensor that is one already is not copied."""
    if name == "numpy":
        from datasets.formatting import NumpyFormatter

        return NumpyFormatter(features=features)
    import torch
    from datasets.formatting import TorchFormatter

    class Formatter(TorchFormatter):  # type: ignore[misc]
        def _tensorize(self, value: Any) -> Any:
            return value if isinstance(value, torch.Tensor) else super()._tensorize(value)

    return Formatter(features=features)
