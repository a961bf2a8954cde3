"""The moving parts of one iteration: a chain of nodes, each with a small exact state.

A node holds counters only. The rows run through the generator that ``rows()`` returns, and a
counter moves *before* the row it counts is handed on, so that at every row the chain's ``state()``
says what was handed out and nothing more: what is restored from it begins with the next row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from fdss.backend import Row
from fdss.errors import StateRefused

from .formats import Form
from .formats_blocks import Block
from .shares import Numbering

State = dict[str, Any]

POSITION_KEY = "position"
SOURCE_KEY = "source"
EMITTED_KEY = "emitted"
SEEN_KEY = "seen"

#: What a row function returns for a row that goes no further; rows themselves may be None.
DROPPED = object()

RowFunction = Callable[[Row, int], Any]

#: From a batch in some form and the numbers of its rows to the rows that come out.
BatchFunction = Callable[[Any, list[int]], "list[Any] | Block"]


class Node(Protocol):
    """One place of the chain; either its rows or its batches are asked for, once."""

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the rows from the present state on, in a form."""

    def batches(self, form: Form, most: int | None) -> Iterator[tuple[int, Any]]:
        """Yield the same rows by the batch of ``most`` rows (None for all), with their number."""

    def state(self) -> State:
        """Return where the next row comes from, as JSON values."""

    def at_end(self) -> bool:
        """Return whether it is already known that no row follows."""


class BatchingNode:
    """A node whose batches are put together of its rows."""

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the rows from the present state on, in a form."""
        raise NotImplementedError

    def batches(self, form: Form, most: int | None) -> Iterator[tuple[int, Any]]:
        """Yield the same rows by the batch of ``most`` rows (None for all), with their number."""
        rows = self.rows(Form())
        while batch := list(islice(rows, most)):
            yield len(batch), form.of_rows(batch)


@dataclass(frozen=True)
class Batching:
    """How rows are put into batches.

    Attributes:
        rows: Rows of a batch, 1 or more; None for all of them.
        drop_last: Leave out a last batch that is short.
    """

    rows: int | None
    drop_last: bool = False

    def of(self, node: Node, form: Form) -> Iterator[tuple[int, Any]]:
        """Yield the batches of a node, with their numbers of rows."""
        for rows, batch in node.batches(form, self.rows):
            if self.drop_last and rows < (self.rows or 0):
                return
            yield rows, batch


class SeeingNode:
    """A node that counts the rows it has seen.

    Args:
        seen: Numbers them.
    """

    def __init__(self, source: Node, state: State | None, seen: Numbering) -> None:
        self._source = source
        self._numbering = seen
        self._seen = seen_in(state, seen)

    def state(self) -> State:
        """Return the source's state and how many rows were seen."""
        return {SOURCE_KEY: self._source.state(), SEEN_KEY: self._numbering.saved(self._seen)}

    def at_end(self) -> bool:
        """Return whether the source is at its end."""
        return self._source.at_end()


class RowNode(SeeingNode, BatchingNode):
    """Rows one by one through a function of the row and its number.

    Args:
        given: The form of the rows that the function is given.
    """

    def __init__(
        self,
        source: Node,
        function: RowFunction,
        given: Form,
        state: State | None,
        seen: Numbering,
    ) -> None:
        super().__init__(source, state, seen)
        self._function = function
        self._given = given
        count_in(state, EMITTED_KEY, most=0)

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield what the function makes of each row, without those it drops."""
        function, is_done = self._function, form.keeps_rows
        numbers = self._numbering.numbers(self._seen)
        for row in self._source.rows(self._given):
            self._seen += 1
            result = function(row, next(numbers))
            if result is not DROPPED:
                yield result if is_done else form.of_row(result)


class BatchNode(BatchingNode):
    """Rows by the batch through a function to rows, or to a block of them.

    A state in the middle of a batch's results names the state of the source at the start of that
    batch, and how many results were handed out: the batch is made again and those are skipped.
    """

    def __init__(
        self,
        source: Node,
        function: BatchFunction,
        given: Form,
        batching: Batching,
        *,
        state: State | None,
        seen: Numbering,
    ) -> None:
        self._source = source
        self._function = function
        self._given = given
        self._batching = batching
        self._emitted = count_in(state, EMITTED_KEY)
        self._numbering = seen
        self._seen = seen_in(state, seen)
        self._start = source.state()

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the function's results, batch after batch."""
        numbers = self._numbering.numbers(self._seen)
        for rows, batch in self._batching.of(self._source, self._given):
            results = self._function(batch, list(islice(numbers, rows)))
            count = len(results)
            self._check_emitted(count)
            for result in islice(_formed(results, form), self._emitted, None):
                self._emitted += 1
                if self._emitted == count:
                    self._move_on(rows)
                yield result
            if not count:
                self._move_on(rows)
        # The rows of a batch that is left out have been read too: nothing of them follows.
        self._start = self._source.state()

    def _move_on(self, batch_rows: int) -> None:
        self._start = self._source.state()
        self._seen += batch_rows
        self._emitted = 0

    def _check_emitted(self, results: int) -> None:
        if self._emitted and self._emitted >= results:
            raise StateRefused(
                f"The state stands behind result {self._emitted} of a batch; the function now "
                f"makes {results} of that batch.",
                hint="resume with the function the state was saved with",
            )

    def state(self) -> State:
        """Return the state at the start of the batch and the results handed out of it."""
        seen = self._numbering.saved(self._seen)
        return {SOURCE_KEY: self._start, EMITTED_KEY: self._emitted, SEEN_KEY: seen}

    def at_end(self) -> bool:
        """Return whether no result is left and the source is at its end."""
        return not self._emitted and self._source.at_end()


def _formed(results: list[Any] | Block, form: Form) -> Iterable[Any]:
    if isinstance(results, Block):
        rows: Iterable[Any] = form.of_block(results)
        return rows
    return results if form.keeps_rows else map(form.of_row, results)


def seen_in(state: State | None, numbering: Numbering) -> int:
    """Return how many rows were seen by a saved state, or at the start."""
    if state is None:
        return numbering.start
    return numbering.restored(count_in(state, SEEN_KEY))


def count_in(state: State | None, key: str, *, most: int | None = None) -> int:
    """Return a count in a saved state, 0 when there is no state.

    Raises:
        StateRefused: It is no count, or more than ``most``.
    """
    if state is None:
        return 0
    value = state.get(key, 0 if key == EMITTED_KEY else None)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StateRefused(f"The state's {key!r} is {value!r}, not a count.")
    if most is not None and value > most:
        raise StateRefused(f"The state's {key!r} is {value:,}; there are only {most:,}.")
    return value
