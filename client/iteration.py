"""One pass over a pipeline: what is iterated, the iterator, and the state it can start from."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fdss.backend import Backend, Row
from fdss.errors import StateRefused
from fdss.wire.names import ORDER_VERSION

from .batches import Columns
from .lengths import Lengths
from .nodes import SOURCE_KEY, Node, SourceNode, State
from .steps import Skip, Step, Take
from .view import View

STATE_VERSION = 1

VERSION_KEY = "version"
ORDER_KEY = "order"
FINGERPRINT_KEY = "fingerprint"
VIEW_KEY = "view"
COLUMNS_KEY = "columns"
STEPS_KEY = "steps"
WORKER_KEY = "worker"
EPOCH_KEY = "epoch"
ENDED_KEY = "ended"
AT_KEY = "at"

_WHAT_DIFFERS = {
    ORDER_KEY: "the version of the order",
    FINGERPRINT_KEY: "the content of the dataset",
    VIEW_KEY: "the slices, shards or shuffle",
    COLUMNS_KEY: "the columns that are read",
    STEPS_KEY: "the steps of the pipeline",
    WORKER_KEY: "the DataLoader worker (number, of how many)",
}


@dataclass(frozen=True)
class Pipeline:
    """What is iterated: rows of a backend in the order of a view, through steps.

    Attributes:
        columns: Columns that are read; None for all.
        worker: Number of this DataLoader worker and how many there are; None outside of one.
    """

    backend: Backend
    view: View
    steps: tuple[Step, ...] = ()
    columns: Columns | None = None
    worker: tuple[int, int] | None = None

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
        states = _unnested(state, len(self.steps))
        source = SourceNode(
            self.backend, view, epoch=epoch, columns=self.columns, state=states.pop()
        )
        node: Node = source
        for step in self.steps:
            node = step.open(node, states.pop(), offset)
            offset = offset if step.keeps_places else 0
        return source, node


class RowIterator(Iterator[Row]):
    """The rows of one epoch from one state on; the only thing that moves.

    Closing it, or dropping the last reference to it, stops its reader at once.
    """

    def __init__(self, pipeline: Pipeline, epoch: int, state: State | None, lengths: Lengths):
        self.cursor = Cursor(pipeline, epoch, state, lengths)
        self._rows = self.cursor.rows()

    def __iter__(self) -> RowIterator:
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def state_dict(self) -> State:
        """Return the state from which the next row follows, as JSON values."""
        return self.cursor.state()

    def close(self) -> None:
        """Stop reading; the state stays what it is."""
        self._rows.close()


class Cursor:
    """Where one pass stands: counters only, so that it can outlive its iterator.

    Attributes:
        epoch: The epoch that is read.
    """

    def __init__(self, pipeline: Pipeline, epoch: int, state: State | None, lengths: Lengths):
        self.epoch = epoch
        self._pipeline = pipeline
        self._lengths = lengths
        self._from_start = state is None
        self._ended = False
        self._source, self._last = pipeline.open(epoch, state)

    def rows(self) -> Generator[Row, None, None]:
        """Yield the rows and count them."""
        lengths, source = self._lengths, self._source
        lengths.begin()
        before, given = source.position, 0
        for row in self._last.rows():
            given += 1
            lengths.output_count = given
            lengths.input_count = source.position - before
            yield row
        self._ended = True
        if self._from_start and self._pipeline.worker is None:
            lengths.end(given)

    def state(self) -> State:
        """Return the state from which the next row follows."""
        ended = self._ended or self._last.at_end()
        return {
            **self._pipeline.identity(),
            EPOCH_KEY: self.epoch,
            ENDED_KEY: ended,
            AT_KEY: self._last.state(),
        }


def current_worker() -> tuple[int, int] | None:
    """Return this DataLoader worker's number and how many there are; None outside of one."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data is not None else None
    return None if info is None else (info.id, info.num_workers)


def check_state(state: Any, identity: State, *, strict: bool) -> State:
    """Return a saved state if it belongs to the pipeline with that identity.

    Args:
        strict: Whether the content, view and steps must be the same; the version always must.

    Raises:
        StateRefused: It does not; the message names what differs.
    """
    if not isinstance(state, dict) or state.get(VERSION_KEY) != STATE_VERSION:
        found = state.get(VERSION_KEY) if isinstance(state, dict) else type(state).__name__
        raise StateRefused(
            f"The state is of version {found!r}; this is version {STATE_VERSION}.",
            hint="pass what state_dict() returned",
        )
    missing = [key for key in (*identity, EPOCH_KEY, ENDED_KEY, AT_KEY) if key not in state]
    if missing:
        raise StateRefused(f"The state has no {', '.join(missing)}.")
    different = [
        f"{what}: {state[key]!r} in the state, {identity[key]!r} here"
        for key, what in _WHAT_DIFFERS.items()
        if state[key] != identity[key]
    ]
    if strict and different:
        raise StateRefused(
            f"The state belongs to another pipeline; what differs is {'; '.join(different)}.",
            hint="build the pipeline as it was saved, or load_state_dict(state, strict=False)",
        )
    return state


def _unnested(state: State | None, steps: int) -> list[State | None]:
    """Return a chain's states from the last node to the source; those of no state are None."""
    states: list[State | None] = []
    for _ in range(steps + 1):
        states.append(state)
        state = None if state is None else state.get(SOURCE_KEY)
    return states
