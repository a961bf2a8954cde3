"""The steps of a pipeline: small immutable descriptions, each of which opens one node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from fdss.backend import FeaturesJson
from fdss.errors import UnknownColumn

from .batches import Columns
from .cutting_nodes import SkipNode, TakeNode
from .formats import PYTHON, Format
from .formats_blocks import lists_of
from .nodes import Batching, BatchNode, Node, State
from .shares import Numbering


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

    def __call__(self, row: Any, index: Any) -> Any:
        """Return the function's result; of a batch, ``row`` holds columns and ``index`` a list."""
        given = [row] if self.input_columns is None else self._columns_of(row)
        if self.with_indices:
            given.append(index)
        return self.function(*given, **self.fn_kwargs)

    def _columns_of(self, row: Any) -> list[Any]:
        try:
            return [row[name] for name in self.input_columns or ()]
        except KeyError as exc:
            raise UnknownColumn(
                f"{self.label} is to be given column {exc}, and a row that reached it has none "
                "of that name.",
            ) from exc

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

    @property
    def is_one_to_one(self) -> bool:
        """Return whether no row becomes two; a function may still drop some."""
        return self.keeps_places

    @abstractmethod
    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node that does the step, from a state or from the start.

        Args:
            seen: Numbers the rows that go in.
            told: Features of the rows that go in; None when they are not known.
        """

    def in_format(self, format_: Format) -> Step:
        """Return the step whose function is given rows in a format."""
        return self

    def skipping(self, rows: int) -> Step:
        """Return the step, before which the first rows are now left out, as if it saw them."""
        return self

    def features_after(self, told: FeaturesJson | None) -> FeaturesJson | None:
        """Return the features of the rows that come out; None when they are not known."""
        return told

    def columns_after(self, columns: Columns | None) -> Columns | None:
        """Return the columns of the rows that come out; None when only a row can tell."""
        return columns


@dataclass(frozen=True)
class Formatted(Step):
    """A step whose rows come in a format, and are in it again when they come out.

    Attributes:
        format: The format that ``with_format`` said before this step.
    """

    format: Format = field(default=PYTHON, kw_only=True)

    def in_format(self, format_: Format) -> Step:
        """Return the step for rows in a format."""
        return replace(self, format=format_)


@dataclass(frozen=True)
class Batch(Formatted):
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

    def features_after(self, told: FeaturesJson | None) -> FeaturesJson | None:
        """Return lists of the features."""
        return told and lists_of(told)

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node."""
        return BatchNode(
            source,
            lambda batch, numbers: batch,
            self.format.gathering(told),
            Batching(self.batch_rows, self.drop_last),
            state=state,
            seen=seen,
        )


@dataclass(frozen=True)
class Take(Step):
    """Hand out the first rows only."""

    count: int

    cuts_output: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return the name with the count."""
        return f"take:{self.count}"

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
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

    def open(
        self, source: Node, state: State | None, seen: Numbering, told: FeaturesJson | None
    ) -> Node:
        """Return the node."""
        return SkipNode(source, self.count, state)
