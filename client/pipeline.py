"""What is iterated: rows of a backend in the order of a view, shared out, through steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fdss.backend import Backend, FeaturesJson
from fdss.wire.names import ORDER_VERSION

from .batches import Columns
from .formats import PYTHON, Format
from .formats_blocks import Kinds
from .nodes import POSITION_KEY, SEEN_KEY, SOURCE_KEY, Node, State
from .ranks import Beginning, Ranks
from .shares import Counted, Numbering, Share, Whole
from .source_node import SourceNode
from .states import (
    AT_KEY,
    BEGAN_KEY,
    COLUMNS_KEY,
    DISTRIBUTION_KEY,
    ENDED_KEY,
    EPOCH_KEY,
    FINGERPRINT_KEY,
    ORDER_KEY,
    RANK_KEY,
    STATE_VERSION,
    STEPS_KEY,
    VERSION_KEY,
    VIEW_KEY,
    WORKER_KEY,
    in_brief,
    names_in_brief,
)
from .steps import Skip, Step, Take
from .view import View

WHOLE = Beginning()


@dataclass(frozen=True)
class Pipeline:
    """What is iterated: rows of a backend in the order of a view, through steps.

    Attributes:
        columns: Columns that are read; None for all.
        worker: Number of this DataLoader worker and how many there are; None outside of one.
        format: What rows and batches come as; no part of the identity, as it moves nothing.
        ranks: How the places of the view are shared out to ranks; None when they are not.
    """

    backend: Backend
    view: View
    steps: tuple[Step, ...] = ()
    columns: Columns | None = None
    worker: tuple[int, int] | None = None
    format: Format = PYTHON
    ranks: Ranks | None = None

    @property
    def features(self) -> FeaturesJson | None:
        """Return the features of the rows that come out; None when they are not known."""
        told = self._read
        for step in self.steps:
            told = step.features_after(told)
        return told

    @property
    def keeps_places(self) -> bool:
        """Return whether every step makes one row of each, unless its function drops some."""
        return all(step.is_one_to_one for step in self.steps)

    @property
    def _read(self) -> FeaturesJson | None:
        stored = self.backend.features
        names = stored if self.columns is None else self.columns
        return {name: stored[name] for name in names} if stored else None

    @property
    def input_rows(self) -> int:
        """Return the rows that go into the steps in a whole epoch, all workers together."""
        places = len(self.view)
        return places if self.ranks is None else len(self.ranks.share(places, WHOLE))

    def identity(self) -> State:
        """Return what a saved state must agree with to belong to this pipeline."""
        return {
            VERSION_KEY: STATE_VERSION,
            ORDER_KEY: ORDER_VERSION,
            FINGERPRINT_KEY: self.backend.fingerprint,
            VIEW_KEY: self.view.as_json(),
            COLUMNS_KEY: None if self.columns is None else names_in_brief(self.columns),
            STEPS_KEY: [in_brief(step.name) for step in self.steps],
            WORKER_KEY: None if self.worker is None else list(self.worker),
        }

    def for_worker(self, worker: int, workers: int) -> Pipeline:
        """Return the part of one DataLoader worker.

        It is a contiguous part of the view, or, of a rank, every ``workers``-th of its batches.
        The counts of ``take`` and ``skip`` that stand behind other steps are shared out too.
        """
        steps = tuple(
            replace(step, count=step.count // workers + (worker < step.count % workers))
            if isinstance(step, Take | Skip)
            else step
            for step in self.steps
        )
        return replace(self, steps=steps, worker=(worker, workers))

    def open(
        self, epoch: int, at: State | None, begin: Beginning = WHOLE
    ) -> tuple[SourceNode, Node]:
        """Return the first and the last node of the chain.

        Args:
            at: Where the chain stands; None for the start.
            begin: Where the pass of a rank begins.
        """
        view, share, numbering = self._shared_out(begin)
        states, told = _unnested(at, len(self.steps)), self._read
        source = SourceNode(
            self.backend,
            share,
            lambda segment: view.selection(epoch, segment, self.columns),
            kinds=None if told is None else Kinds(told),
            state=states.pop(),
        )
        node: Node = source
        for step in self.steps:
            node = step.open(node, states.pop(), numbering, told)
            told = step.features_after(told)
            if not self._keeps_numbers(step):
                numbering = Counted()
        return source, node

    def state_at(self, place: int, epoch: int, began: int | None = None) -> State:
        """Return the state that stands at a place of the view: all before it is consumed whole.

        Args:
            began: Place from which global steps are counted; None for ``place`` itself.
        """
        at: State = {POSITION_KEY: place}
        keeps_places = True
        for step in self.steps:
            at = {SOURCE_KEY: at, SEEN_KEY: place if keeps_places else 0}
            keeps_places = keeps_places and self._keeps_numbers(step)
        state = {**self.identity(), EPOCH_KEY: epoch, AT_KEY: at}
        if self.ranks is None:
            return {**state, ENDED_KEY: place >= len(self.view)}
        began = place if began is None else began
        ended = place >= self.ranks.end(len(self.view), began)
        told = {**self.ranks.as_json(), BEGAN_KEY: began, RANK_KEY: None}
        return {**state, ENDED_KEY: ended, DISTRIBUTION_KEY: told}

    def _keeps_numbers(self, step: Step) -> bool:
        return step.keeps_places if self.ranks is None else step.is_one_to_one

    def _shared_out(self, begin: Beginning) -> tuple[View, Share, Numbering]:
        if self.ranks is not None:
            share = self.ranks.share(len(self.view), begin, self.worker)
            return self.view, share, share
        view, first = self.view, 0
        if self.worker is not None:
            view = self.view.worker_part(*self.worker)
            first = self.worker[0] * -(-len(self.view) // self.worker[1])
        return view, Whole(places=len(view)), Counted(first)


def _unnested(state: State | None, steps: int) -> list[State | None]:
    """Return a chain's states from the last node to the source; those of no state are None."""
    states: list[State | None] = []
    for _ in range(steps + 1):
        states.append(state)
        state = None if state is None else state.get(SOURCE_KEY)
    return states
