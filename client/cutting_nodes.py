"""The nodes that count the rows behind other steps, and cut them off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from .formats import Form
from .nodes import SOURCE_KEY, BatchingNode, Node, State, count_in

COUNT_KEY = "count"


class TakeNode(BatchingNode):
    """The first rows only."""

    def __init__(self, source: Node, most: int, state: State | None) -> None:
        self._source = source
        self._most = most
        self._count = count_in(state, COUNT_KEY, most=most)

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield rows until enough were handed out; the row after the last is never asked for."""
        if self._count >= self._most:
            return
        for row in self._source.rows(form):
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


class SkipNode(BatchingNode):
    """All but the first rows."""

    def __init__(self, source: Node, first: int, state: State | None) -> None:
        self._source = source
        self._first = first
        self._count = count_in(state, COUNT_KEY, most=first)

    def rows(self, form: Form) -> Iterator[Any]:
        """Yield the rows behind those that are skipped."""
        source = self._source.rows(form)
        for _ in islice(source, self._first - self._count):
            self._count += 1
        yield from source

    def state(self) -> State:
        """Return the source's state and how many rows were skipped."""
        return {SOURCE_KEY: self._source.state(), COUNT_KEY: self._count}

    def at_end(self) -> bool:
        """Return whether the source is at its end."""
        return self._source.at_end()
