"""One pass over a pipeline: what is iterated, the iterator, and the state it can start from."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from fdss.backend import Backend, FeaturesJson
from fdss.errors import IterationBroken
from fdss.wire.names import ORDER_VERSION

from .batches import Columns
from .epochs import Epoch
from .formats import PYTHON, Format
from .formats_blocks import Kinds
from .lengths import Lengths
from .nodes import SOURCE_KEY, Batching, Node, SourceNode, State
from .states import (
    AT_KEY,
    COLUMNS_KEY,
    ENDED_KEY,
    EPOCH_KEY,
    FINGERPRINT_KEY,
    ORDER_KEY,
    STATE_VERSION,
    STEPS_KEY,
    VERSION_KEY,
    VIEW_KEY,
    WORKER_KEY,
    check_state,
)
from .steps import Skip, Step, Take
from .view import View


@dataclass(frozen=True)
class Pipeline:
    """What is iterated: rows of a backend in the order of a view, through steps.

    Attributes:
        columns: Columns that are read; None for all.
        worker: Number of this DataLoader worker and how many there are; None outside of one.
        format: What rows and batches come as; no part of the identity, as it moves nothing.
    """

    backend: Backend
    view: View
    steps: tuple[Step, ...] = ()
    columns: Columns | None = None
    worker: tuple[int, int] | None = None
    format: Format = PYTHON

    @property
    def features(self) -> FeaturesJson | None:
        """Return the features of the rows that come out; None when they are not known."""
        told = self._read
        for step in self.steps:
            told = step.features_after(told)
        return told

    @property
    def _read(self) -> FeaturesJson | None:
        stored = self.backend.features
        names = stored if self.columns is None else self.columns
        return {name: stored[name] for name in names} if stored else None

    def identity(self) -> State:
        """Return what a saved state must agree with to belong to this pipeline."""
        return {
            VERSION_KEY: STATE_VERSION,
            ORDER_KEY: ORDER_VERSION,
            FINGERPRINT_KEY: self.backend.fingerprint,
            VIEW_KEY: self.view.as_json(),
            COLUMNS_KEY: None if self.columns is None else list(self.columns),
            STEPS_KEY: [step.name for step in self.steps],
            WORKER_KEY: None if self.worker is None else list(self.worker),
        }

    def for_worker(self, worker: int, workers: int) -> Pipeline:
        """Return the part of one DataLoader worker: a contiguous part of the view.

        The counts of ``take`` and ``skip`` that stand behind other steps are shared out too.
        """
        steps = tuple(
            replace(step, count=step.count // workers + (worker < step.count % workers))
            if isinstance(step, Take | Skip)
            else step
            for step in self.steps
        )
        return replace(self, steps=steps, worker=(worker, workers))

    def open(self, epoch: int, state: State | None) -> tuple[SourceNode, Node]:
        """Return the first and the last node of the chain, at a state or at the start."""
        view, offset = self.view, 0
        if self.worker is not None:
            view = self.view.worker_part(*self.worker)
            offset = self.worker[0] * -(-len(self.view) // self.worker[1])
        states, told = _unnested(state, len(self.steps)), self._read
        source = SourceNode(
            self.backend,
            view,
            epoch=epoch,
            columns=self.columns,
            kinds=None if told is None else Kinds(told),
            state=states.pop(),
        )
        node: Node = source
        for step in self.steps:
            node = step.open(node, states.pop(), offset, told)
            told = step.features_after(told)
            offset = offset if step.keeps_places else 0
        return source, node


class RowIterator(Iterator[Any]):
    """The rows of one epoch, or batches of them, from one state on; the only thing that moves.

    Closing it, or dropping the last reference to it, stops its reader at once.
    """

    def __init__(self, cursor: Cursor, epoch: Epoch) -> None:
        """Iterate from a cursor.

        Args:
            epoch: The epoch of the dataset, which a state that is loaded here brings back.
        """
        self._cursor = cursor
        self._epoch = epoch
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

    def close(self) -> None:
        """Stop reading; the state stays what it is."""
        self._is_closed = True
        self._rows.close()


class Cursor:
    """Where one pass stands: counters only, so that it can outlive its iterator.

    Attributes:
        has_ended: Whether the last row was asked for and there was none behind it.
    """

    _source: SourceNode
    _last: Node
    _held: tuple[State, bool] | None

    def __init__(
        self,
        pipeline: Pipeline,
        epoch: int,
        lengths: Lengths,
        state: State | None = None,
        batching: Batching | None = None,
    ) -> None:
        """Stand at the start of an epoch, or at ``state``, which belongs to the pipeline."""
        self._pipeline = pipeline
        self._batching = batching
        self._epoch = epoch
        self._lengths = lengths
        self._open(None if state is None else state[AT_KEY])

    def move_to(self, state: State, *, strict: bool) -> None:
        """Stand where a saved state does.

        Raises:
            StateRefused: It belongs to another pipeline; the message names what differs.
        """
        self._epoch = check_state(state, self._pipeline.identity(), strict=strict)[EPOCH_KEY]
        self._open(state[AT_KEY])

    def rows(self) -> Generator[Any, None, None]:
        """Yield the rows, or batches of them, and count them."""
        lengths, source = self._lengths, self._source
        lengths.begin()
        before, given = source.position, 0
        # Behind the source, rows are counted before a function has made anything of them: what a
        # function fails at was not handed out, so the state stays that of the row before.
        holds = bool(self._pipeline.steps) or self._batching is not None
        self._held = self._counted() if holds else None
        for rows, item in self._items():
            given += rows
            lengths.output_count = given
            lengths.input_count = source.position - before
            if holds:
                self._held = self._counted()
            yield item
        self.has_ended = True
        self._held = None
        if self._from_start and self._pipeline.worker is None:
            lengths.end(given)

    def _items(self) -> Iterator[tuple[int, Any]]:
        format_, told, batching = self._pipeline.format, self._pipeline.features, self._batching
        if batching is None:
            return zip(repeat(1), self._last.rows(format_.rows(told)))
        return batching.of(self._last, format_.batches(told))

    def state(self) -> State:
        """Return the state from which the next row follows."""
        at, at_end = self._held or self._counted()
        return {
            **self._pipeline.identity(),
            EPOCH_KEY: self._epoch,
            ENDED_KEY: self.has_ended or at_end,
            AT_KEY: at,
        }

    def _counted(self) -> tuple[State, bool]:
        return self._last.state(), self._last.at_end()

    def _open(self, at: State | None) -> None:
        self._from_start = at is None
        self._held = None
        self.has_ended = False
        self._source, self._last = self._pipeline.open(self._epoch, at)


def current_worker() -> tuple[int, int] | None:
    """Return this DataLoader worker's number and how many there are; None outside of one."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data is not None else None
    return None if info is None else (info.id, info.num_workers)


def _unnested(state: State | None, steps: int) -> list[State | None]:
    """Return a chain's states from the last node to the source; those of no state are None."""
    states: list[State | None] = []
    for _ in range(steps + 1):
        states.append(state)
        state = None if state is None else state.get(SOURCE_KEY)
    return states
