"""One pass over a pipeline: the iterator, and the state it can start from."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import repeat
from typing import Any

from fdss.errors import IterationBroken

from . import summaries
from .board import Board
from .elastic import adopted, position_of
from .epochs import Epoch, Start
from .lengths import Lengths
from .nodes import Batching, Node, State
from .pipeline import WHOLE, Pipeline
from .ranks import Beginning, Ranks
from .source_node import SourceNode
from .states import (
    AT_KEY,
    BEGAN_KEY,
    DISTRIBUTION_KEY,
    ENDED_KEY,
    EPOCH_KEY,
    PLACE_KEY,
    RANK_KEY,
    READ_KEY,
    WORKER_KEY,
)


class RowIterator(Iterator[Any]):
    """The rows of one epoch, or batches of them, from one state on; the only thing that moves.

    Closing it, or dropping the last reference to it, stops its reader at once.
    """

    def __init__(self, cursor: Cursor, epoch: Epoch, start: Start | None) -> None:
        """Iterate from a cursor.

        Args:
            epoch: The epoch of the dataset, which a state that is loaded here brings back.
            start: Where the passes of a rank begin; likewise.
        """
        self._cursor = cursor
        self._epoch = epoch
        self._start = start
        self._rows = cursor.rows()
        self._is_closed = False

    def __iter__(self) -> RowIterator:
        return self

    def __next__(self) -> Any:
        for row in self._rows:
            return row
        if self._is_closed or self._cursor.has_ended:
            raise StopIteration
        # What an error has ended is no whole epoch, also for a loop that goes on after it.
        raise IterationBroken("The iteration was ended by an error before its last row.")

    def state_dict(self) -> State:
        """Return the state from which the next row follows, as JSON values."""
        return self._cursor.state()

    def load_state_dict(self, state: State, *, strict: bool = True) -> None:
        """Go on behind the last row of a saved state; behind the last of an epoch none follows.

        The dataset's next iteration is of the same epoch, unless ``set_epoch`` says another.

        Raises:
            StateRefused: It belongs to another pipeline; the message names what differs.
        """
        self._rows.close()
        self._cursor.move_to(state, strict=strict)
        self._rows = self._cursor.rows()
        if state[WORKER_KEY] is None:
            self._epoch.number = state[EPOCH_KEY]
            if self._start is not None:
                self._start.go_on(self._cursor.begin)

    def close(self) -> None:
        """Stop reading; the state stays what it is."""
        self._is_closed = True
        self._rows.close()


class Cursor:
    """Where one pass stands: counters only, so that it can outlive its iterator.

    Attributes:
        start: What is told, of a rank's pass, when a function drops a row.
        begin: Where the pass of a rank begins, or goes on from a loaded state.
        board: Where the pass is counted.
        has_ended: Whether the last row was asked for and there was none behind it.
    """

    start: Start | None = None
    begin: Beginning
    board: Board
    _source: SourceNode
    _last: Node
    _held: tuple[State, bool, int] | None
    _given: int
    _from_start: bool

    def __init__(
        self,
        pipeline: Pipeline,
        epoch: int,
        lengths: Lengths,
        state: State | None = None,
        batching: Batching | None = None,
        begin: Beginning = WHOLE,
    ) -> None:
        """Stand at the start of an epoch, or at ``state``, which belongs to the pipeline.

        Args:
            begin: Where the pass of a rank begins, when there is no state.
        """
        self._pipeline = pipeline
        self._batching = batching
        self._epoch = epoch
        self._lengths = lengths
        self.board = Board()
        self._open(state, begin)

    def move_to(self, state: State, *, strict: bool) -> None:
        """Stand where a saved state does.

        Raises:
            StateRefused: It belongs to another pipeline; the message names what differs.
        """
        state = adopted(state, self._pipeline, strict=strict)
        self._epoch = state[EPOCH_KEY]
        self._open(state, WHOLE)

    def rows(self) -> Generator[Any, None, None]:
        """Yield the rows, or batches of them, and count them."""
        lengths, source = self._lengths, self._source
        lengths.begin()
        before, given = source.position, self._given
        is_told = summaries.are_wanted()
        meter = self.board.begin(self._pipeline.worker, self._epoch, before)
        source.meter = meter
        watched = self.start if self._pipeline.keeps_places else None
        # Behind the source, rows are counted before a function has made anything of them: what a
        # function fails at was not handed out, so the state stays that of the row before.
        holds = bool(self._pipeline.steps) or self._batching is not None
        self._held = self._counted() if holds else None
        for rows, item in self._items():
            self._given += rows
            lengths.output_count = self._given
            lengths.input_count = source.position - before
            if holds:
                self._held = self._counted()
            if watched is not None and source.position - before != self._given - given:
                watched.note_dropped()
            yield item
        if watched is not None and source.position - before != self._given - given:
            watched.note_dropped()
        self.has_ended = True
        self._held = None
        counted = meter.end()
        if is_told:
            summaries.tell(self.board.name, self._pipeline, counted)
        if self._from_start and self._pipeline.worker is None:
            lengths.end(self._given)

    def _items(self) -> Iterator[tuple[int, Any]]:
        format_, told, batching = self._pipeline.format, self._pipeline.features, self._batching
        if batching is None:
            return zip(repeat(1), self._last.rows(format_.rows(told)))
        return batching.of(self._last, format_.batches(told))

    def state(self) -> State:
        """Return the state from which the next row follows."""
        at, at_end, read = self._held or self._counted()
        state = {
            **self._pipeline.identity(),
            EPOCH_KEY: self._epoch,
            ENDED_KEY: self.has_ended or at_end,
            AT_KEY: at,
        }
        if self._pipeline.ranks is not None:
            state[DISTRIBUTION_KEY] = self._distribution(self._pipeline.ranks, read)
        return state

    def _distribution(self, ranks: Ranks, read: int) -> State:
        told = {**ranks.as_json(), BEGAN_KEY: self.begin.began, RANK_KEY: None}
        if self._pipeline.worker is not None:
            return {**told, RANK_KEY: ranks.number, PLACE_KEY: self.begin.place}
        # Where each row that was read has come out as one, all ranks stand at the same place.
        given = self._given if self._pipeline.keeps_places else 0
        if not self._is_own and read - self._opened == given:
            return told
        return {**told, RANK_KEY: ranks.number, READ_KEY: max(read, self._read_before)}

    def _counted(self) -> tuple[State, bool, int]:
        at_end = self._last.at_end() and self._source.ends_the_epoch
        return self._last.state(), at_end, self._source.position

    def _open(self, state: State | None, begin: Beginning) -> None:
        self.begin = begin
        told = None if state is None else state.get(DISTRIBUTION_KEY)
        if state is not None and told is not None:
            begin = Beginning(told[BEGAN_KEY], told.get(PLACE_KEY, told[BEGAN_KEY]))
            is_worker = self._pipeline.worker is not None
            self.begin = begin if is_worker else Beginning(begin.began, position_of(state))
        self.has_ended = False
        self._is_own = told is not None and told[RANK_KEY] is not None
        self._read_before = 0 if told is None else told.get(READ_KEY, 0)
        self._from_start = state is None and not begin.place
        self._held = None
        self._given = 0
        at = None if state is None else state[AT_KEY]
        self._source, self._last = self._pipeline.open(self._epoch, at, begin)
        self._opened = self._source.position
