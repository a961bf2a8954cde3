"""The moving parts of one iteration: a chain of nodes, each with a small exact state.

A node holds counters only. The rows run through the generator that ``rows()`` returns, and a
counter moves *before* the row it counts is handed on, so that at every row the chain's ``state()``
says what was handed out and nothing more: what is restored from it begins with the next row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from fdss.backend import Backend, Row
from fdss.errors import StateRefused

from .view import View

State = dict[str, Any]

POSITION_KEY = "position"
SOURCE_KEY = "source"
EMITTED_KEY = "emitted"
SEEN_KEY = "seen"
COUNT_KEY = "count"

#: What a row function returns for a row that goes no further; rows themselves may be None.
DROPPED = object()

RowFunction = Callable[[Row, int], Any]
BatchFunction = Callable[[list[Row], int], list[Row]]


class Node(Protocol):
    """One place of the chain."""

    def rows(self) -> Iterator[Row]:
        """Yield the rows from the present state on; called once."""

    def state(self) -> State:
        """Return where the next row comes from, as JSON values."""

    def at_end(self) -> bool:
        """Return whether it is already known that no row follows."""


class SourceNode:
    """The rows of a backend in the order of one epoch.

    Attributes:
        position: Places of the view that were handed out, 0 to ``len(view)``.
    """

    def __init__(
        self,
        backend: Backend,
        view: View,
        *,
        epoch: int,
        columns: tuple[str, ...] | None,
        state: State | None,
    ) -> None:
        self._backend = backend
        self._view = view
        self._epoch = epoch
        self._columns = columns
        self.position = _count(state, POSITION_KEY, most=len(view))

    def rows(self) -> Iterator[Row]:
        """Yield the rows from the present position to the end of the view."""
        if self.at_end():
            return
        selection = self._view.selection(self._epoch, self.position, self._columns)
        chunks = self._backend.chunks(selection)
        try:
            for chunk in chunks:
                for row in chunk.rows():
                    self.position += 1
                    yield row
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def state(self) -> State:
        """Return the position."""
        return {POSITION_KEY: self.position}

    def at_end(self) -> bool:
        """Return whether every place of the view was handed out."""
        return self.position >= len(self._view)


class RowNode:
    """Rows one by one through a function of the row and its number."""

    def __init__(self, source: Node, function: RowFunction, state: State | None, seen: int) -> None:
        self._source = source
        self._function = function
        self._seen = _count(state, SEEN_KEY, default=seen)

    def rows(self) -> Iterator[Row]:
        """Yield what the function makes of each row, without those it drops."""
        function = self._function
        for row in self._source.rows():
            self._seen += 1
            result = function(row, self._seen - 1)
            if result is not DROPPED:
                yield result

    def state(self) -> State:
        """Return the source's state and how many rows were seen."""
        return {SOURCE_KEY: self._source.state(), SEEN_KEY: self._seen}

    def at_end(self) -> bool:
        """Return whether the source is at its end."""
        return self._source.at_end()


class BatchNode:
    """Rows by the batch through a function from rows to rows.

    A state in the middle of a batch's results names the state of the source at the start of that
    batch, and how many results were handed out: the batch is made again and those are skipped.
    """

    def __init__(
        self,
        source: Node,
        function: BatchFunction,
        *,
        batch_rows: int | None,
        drop_last: bool,
        state: State | None,
        seen: int,
    ) -> None:
        self._source = source
        self._function = function
        self._batch_rows = batch_rows
        self._drop_last = drop_last
        self._emitted = _count(state, EMITTED_KEY)
        self._seen = _count(state, SEEN_KEY, default=seen)
        self._start = source.state()

    def rows(self) -> Iterator[Row]:
        """Yield the function's results, batch after batch."""
        source = self._source.rows()
        while batch := list(islice(source, self._batch_rows)):
            if self._drop_last and len(batch) < (self._batch_rows or 0):
                break
            results = self._function(batch, self._seen)
            self._check_emitted(len(results))
            for result in results[self._emitted :]:
                self._emitted += 1
                if self._emitted == len(results):
                    self._move_on(len(batch))
                yield result
            if not results:
                self._move_on(len(batch))

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
        return {SOURCE_KEY: self._start, EMITTED_KEY: self._emitted, SEEN_KEY: self._seen}

    def at_end(self) -> bool:
        """Return whether no result is left and the source is at its end."""
        return not self._emitted and self._source.at_end()


class TakeNode:
    """The first rows only."""

    def __init__(self, source: Node, most: int, state: State | None) -> None:
        self._source = source
        self._most = most
        self._count = _count(state, COUNT_KEY, most=most)

    def rows(self) -> Iterator[Row]:
        """Yield rows until enough were handed out; the row after the last is never asked for."""
        if self._count >= self._most:
            return
        for row in self._source.rows():
            self._count += 1
            yield row
            if self._count >= self._most:
                return

    def state(self) -> State:
        """Return the source's state and how many rows were handed out."""
        return {SOURCE_KEY: self._source.state(), COUNT_KEY: self._count}

    def at_end(self) -> bool:
        """Return whether enough rows were handed out, or the source is at its end."""
        return self._count >= self._most or self._source.at_end()


class SkipNode:
    """All but the first rows."""

    def __init__(self, source: Node, first: int, state: State | None) -> None:
        self._source = source
        self._first = first
        self._count = _count(state, COUNT_KEY, most=first)

    def rows(self) -> Iterator[Row]:
        """Yield the rows behind those that are skipped."""
        source = self._source.rows()
        for _ in islice(source, self._first - self._count):
            self._count += 1
        yield from source

    def state(self) -> State:
        """Return the source's state and how many rows were skipped."""
        return {SOURCE_KEY: self._source.state(), COUNT_KEY: self._count}

    def at_end(self) -> bool:
        """Return whether the source is at its end."""
        return self._source.at_end()


def _count(state: State | None, key: str, *, default: int = 0, most: int | None = None) -> int:
    if state is None:
        return default
    value = state.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StateRefused(f"The state's {key!r} is {value!r}, not a count.")
    if most is not None and value > most:
        raise StateRefused(f"The state's {key!r} is {value:,}; there are only {most:,}.")
    return value
