"""The methods that make one dataset of another: all arithmetic and description, nothing moves."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fdss.backend import DEFAULT_BLOCK_ROWS, WINDOW_ROWS
from fdss.errors import BadParameter, UnknownColumn, UnsupportedStep

from .batches import Columns
from .column_steps import IndexColumn, RemoveColumns, RenameColumn, SelectColumns
from .formats_names import format_named
from .function_steps import BatchFilter, BatchMap, Filter, Map
from .pipeline import Pipeline
from .steps import Batch, Call, Skip, Step, Take
from .view import Bound, Shuffle, View

if TYPE_CHECKING:
    from datasets import Features
    from typing_extensions import Self

BATCH_ROWS = 1000
Names = str | Sequence[str]


class Transforms(ABC):
    """The part of a dataset that describes: every method returns a new one, and keeps this one.

    ``slice``, ``select``, ``shard`` and ``shuffle`` choose among the rows of the source wherever
    they stand in the chain; ``take`` and ``skip`` count the rows that come out of the steps
    before them.
    """

    @property
    @abstractmethod
    def _pipeline(self) -> Pipeline:
        """Return what is iterated; the backend is asked for its length if it is not yet known."""

    @abstractmethod
    def _with(self, **changes: Any) -> Self:
        """Return a dataset whose pipeline has other fields."""

    # ---- which rows, in which order

    def slice(self, start: Bound = None, end: Bound = None) -> Self:
        """Return the rows from ``start`` to ``end``, end excluded.

        ``list(ds.slice(2, 5)) == list(ds)[2:5]``

        Args:
            start: A count (negative from the end), a fraction from 0.0 to 1.0 or "N%".
            end: The same.

        Raises:
            BadParameter: A bound is out of range, or nothing is left.
        """
        return self._viewed(self._pipeline.view.between(start, end), "slice")

    def select(self, indices: Iterable[int]) -> Self:
        """Return the rows at indices that rise by a constant step.

        Raises:
            BadParameter: There are none, or one is out of range.
            UnsupportedStep: They do not rise by a constant step.
        """
        return self._viewed(self._pipeline.view.among(indices), "select")

    def shard(self, num_shards: int, index: int, contiguous: bool = True) -> Self:
        """Return one of ``num_shards`` disjoint parts; of 23 rows in 4: 6, 6, 6 and 5.

        Args:
            index: Which part, 0 to ``num_shards`` - 1.
            contiguous: Consecutive rows; else every ``num_shards``-th row.
        """
        view = self._pipeline.view.shard(num_shards, index, contiguous=contiguous)
        return self._viewed(view, "shard")

    def shuffle(
        self,
        seed: int | None = None,
        buffer_size: int | None = WINDOW_ROWS,
        block_size: int = DEFAULT_BLOCK_ROWS,
    ) -> Self:
        """Return the same rows in a shuffled order, another one every epoch.

        The order follows from the arguments and the number of rows alone: it is the same on every
        machine, local or remote, and starts at any position at once. Nothing is buffered.

        Args:
            seed: 0 to 2**64 - 1; None draws one. Ranks that shard one dataset must agree on it.
            buffer_size: Positions mixed among themselves, up to 131,072; None or 0: only
                blocks are mixed.
            block_size: Stored rows that are read together, 1 to 65,536.
        """
        drawn = secrets.randbits(31) if seed is None else seed
        shuffle = Shuffle(drawn, max(buffer_size or 0, 0), block_size, is_drawn=seed is None)
        return self._viewed(self._pipeline.view.shuffled(shuffle), "shuffle")

    def take(self, n: int) -> Self:
        """Return the first ``n`` rows that come out."""
        self._check_undistributed("take")
        check_count("take", n)
        if self._outputs_are_places:
            return self._with(view=self._pipeline.view[:n])
        return self._stepped(Take(n))

    def skip(self, n: int) -> Self:
        """Return all but the first ``n`` rows that come out."""
        self._check_undistributed("skip")
        check_count("skip", n)
        if self._outputs_are_places:
            steps = tuple(step.skipping(n) for step in self._pipeline.steps)
            return self._with(view=self._pipeline.view[n:], steps=steps)
        return self._stepped(Skip(n))

    # ---- what becomes of them

    def map(
        self,
        function: Callable[..., Any] | None = None,
        with_indices: bool = False,
        input_columns: Names | None = None,
        batched: bool = False,
        batch_size: int | None = BATCH_ROWS,
        drop_last_batch: bool = False,
        remove_columns: Names | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        features: Features | None = None,
    ) -> Self:
        """Return rows with a function's result merged over them.

        Behind ``with_format("arrow")`` or "pandas" the function is given a table, and the table
        or frame it returns is what comes out: nothing is merged.

        Args:
            function: From a row to a dict of new columns, or to None, which drops the row. When
                ``batched``, from columns to columns, which may have another number of rows.
            with_indices: Pass the row's number too (when ``batched``, a list of them). It counts
                the rows that reach this step.
            input_columns: Pass these columns one by one instead of the row.
            batch_size: Rows of a batch; None or 0 for all of them at once.
            drop_last_batch: Leave out a last batch that is short.
            remove_columns: Columns of the row that do not come out unless the function makes them.
            fn_kwargs: Keyword arguments for the function.
            features: What ``features`` says of the rows that come out; they are not changed.
        """
        call = Call(function or _unchanged, with_indices, _names(input_columns), fn_kwargs or {})
        removed = _names(remove_columns) or ()
        self._check_columns((*(call.input_columns or ()), *removed))
        told = None if features is None else features.to_dict()
        if not batched:
            return self._stepped(Map(call, removed, told))
        size = _batch_rows(batch_size)
        return self._stepped(BatchMap(call, removed, told, size, drop_last_batch))

    def filter(
        self,
        function: Callable[..., Any],
        with_indices: bool = False,
        input_columns: Names | None = None,
        batched: bool = False,
        batch_size: int | None = BATCH_ROWS,
        fn_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the rows for which a function returns something true; arguments as ``map``."""
        call = Call(function, with_indices, _names(input_columns), fn_kwargs or {})
        self._check_columns(call.input_columns or ())
        return self._stepped(
            BatchFilter(call, _batch_rows(batch_size)) if batched else Filter(call)
        )

    def batch(self, batch_size: int, drop_last_batch: bool = False) -> Self:
        """Return rows that hold ``batch_size`` rows each, a list a column."""
        if _batch_rows(batch_size) is None:
            raise BadParameter(f"batch() batch_size={batch_size!r} is not 1 or more.")
        return self._stepped(Batch(batch_size, drop_last_batch))

    def with_format(self, type: str | None = None) -> Self:
        """Return rows and batches in a format, with the values and types ``datasets`` gives.

        The functions of later steps are given their rows in it too. A state does not depend on
        it. What several rows hold may be views of one array.

        Args:
            type: "python" (None), "numpy", "torch", "arrow" or "pandas".

        Raises:
            BadParameter: There is no such format.
        """
        return self._with(format=format_named(type))

    def with_indices(self, column: str = "index") -> Self:
        """Return rows with their number, counted where this step stands, as a column."""
        return self._stepped(IndexColumn(column))

    def remove_columns(self, column_names: Names) -> Self:
        """Return rows without some columns; at the start of a chain they are not even read."""
        removed = _names(column_names) or ()
        self._check_columns(removed)
        columns = self._source_columns
        if columns is None:
            return self._stepped(RemoveColumns(removed))
        return self._with(columns=tuple(name for name in columns if name not in removed))

    def select_columns(self, column_names: Names) -> Self:
        """Return rows with only some columns; at the start of a chain no other is read."""
        kept = _names(column_names) or ()
        if len(set(kept)) < len(kept):
            raise BadParameter(f"select_columns() names a column twice: {', '.join(kept)}.")
        self._check_columns(kept)
        if self._source_columns is None:
            return self._stepped(SelectColumns(kept))
        return self._with(columns=kept)

    def rename_column(self, original_column_name: str, new_column_name: str) -> Self:
        """Return rows in which one column has another name."""
        self._check_columns((original_column_name,))
        if new_column_name in (self._known_columns or ()):
            raise BadParameter(f"rename_column() to {new_column_name!r}: that column exists.")
        return self._stepped(RenameColumn(original_column_name, new_column_name))

    # ---- inside

    @property
    def _known_columns(self) -> Columns | None:
        columns = self._pipeline.columns
        if columns is None:
            columns = tuple(self._pipeline.backend.column_names)
        for step in self._pipeline.steps:
            columns = step.columns_after(columns)
        return columns

    @property
    def _source_columns(self) -> Columns | None:
        return None if self._pipeline.steps else self._known_columns

    @property
    def _outputs_are_places(self) -> bool:
        """Whether the n-th row that comes out is surely the n-th of the view."""
        return all(step.keeps_places and not isinstance(step, Map) for step in self._pipeline.steps)

    def _check_columns(self, names: Iterable[str]) -> None:
        known = self._known_columns
        unknown = [name for name in names if known is not None and name not in known]
        if unknown:
            raise UnknownColumn(
                f"There is no column {', '.join(map(repr, unknown))}; there are "
                f"{', '.join(map(repr, known or ()))}."
            )

    def _check_undistributed(self, method: str) -> None:
        if self._pipeline.ranks is not None:
            raise UnsupportedStep(
                f"{method}() cannot follow distribute(), which shares out what is chosen before.",
                hint=f"call {method}() before distribute()",
            )

    def _viewed(self, view: View, method: str) -> Self:
        self._check_undistributed(method)
        cutting = [step.name for step in self._pipeline.steps if step.cuts_output]
        if cutting:
            raise UnsupportedStep(
                f"{method}() cannot follow {cutting[0]}, which counts rows behind other steps.",
                hint=f"call {method}() before it",
            )
        return self._with(view=view)

    def _stepped(self, step: Step) -> Self:
        formatted = step.in_format(self._pipeline.format)
        return self._with(steps=(*self._pipeline.steps, formatted))


def _unchanged(*given: Any, **options: Any) -> dict[str, Any]:
    return {}


def _names(names: Names | None) -> Columns | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(names)


def _batch_rows(batch_size: int | None) -> int | None:
    return batch_size if batch_size is not None and batch_size > 0 else None


def check_count(method: str, count: Any) -> None:
    """Refuse anything but a whole number, 0 or more."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise BadParameter(f"{method}({count!r}) takes a whole number, 0 or more.")
