"""The dataset a training loop holds: an immutable description that can be iterated and resumed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fdss.backend import Backend, Row
from fdss.errors import BadParameter, StateRefused, UnsupportedStep

from .board import Board
from .describing import Describing
from .elastic import MergedState, adopted
from .epochs import Epoch, Start
from .iteration import Cursor, RowIterator
from .lengths import Lengths
from .nodes import Batching, State
from .pipeline import Pipeline
from .ranks import Beginning
from .shared import current_worker
from .states import DISTRIBUTION_KEY, ENDED_KEY, EPOCH_KEY, RANK_KEY, WORKER_KEY
from .transforms import check_count
from .view import View

_log = logging.getLogger(__name__)

if TYPE_CHECKING:

    class _IterableDataset(Iterable[Row]):
        pass

elif importlib.util.find_spec("torch") is None:
    _IterableDataset = Iterable
else:
    from torch.utils.data import IterableDataset as _IterableDataset


class ComposableIterableDataset(Describing, _IterableDataset):
    """Rows of a backend, sliced, shuffled and mapped, as an iterable that can be resumed.

    Every method returns a new dataset and leaves this one as it is; two loops over one dataset
    are independent. Only an iterator moves: ``iter(ds)`` starts at the first row of the epoch,
    or, once after ``load_state_dict``, behind the last row of the saved state.

    ``slice``, ``select``, ``shard`` and ``shuffle`` choose among the rows of the source wherever
    they stand in the chain; ``take`` and ``skip`` count the rows that come out of the steps
    before them. In a DataLoader worker an iterator gives a contiguous part of the rows; of a rank
    (``distribute``) every n-th of its batches.

    Args:
        backend: Where the rows are.
        length_estimate: How ``len`` answers when steps change the number of rows: "dynamic",
            "static" or "exact".
        reset_length_on_iter: Forget counted lengths when an iteration begins.
        load_args: The arguments the backend was loaded with, for the reader's information.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        length_estimate: str = "dynamic",
        reset_length_on_iter: bool = False,
        load_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.load_args = dict(load_args or {})
        self._lengths = Lengths(length_estimate, reset_length_on_iter)
        self._backend = backend
        # A backend may have to find its server first, so it is asked when the length is needed.
        self._described: Pipeline | None = None
        self._board = Board(str(self.load_args.get("path", type(backend).__name__)))
        self._epoch = Epoch()
        self._start = None
        self._resume: State | None = None
        self._cursor: Cursor | None = None

    # ---- iterating and resuming

    def __iter__(self) -> RowIterator:
        return self._begun(None)

    def iter(self, batch_size: int, drop_last_batch: bool = False) -> RowIterator:
        """Return an iterator over batches of rows, columns of ``with_format``'s format.

        It starts where ``iter(ds)`` would, and has a state as that has.

        Args:
            batch_size: Rows of a batch, 1 or more.
            drop_last_batch: Leave out a last batch that is short.
        """
        if batch_size < 1:
            raise BadParameter(f"iter() batch_size={batch_size!r} is not 1 or more.")
        return self._begun(Batching(batch_size, drop_last_batch))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration gives; without a shuffle all are alike.

        It reaches the workers of a DataLoader too, also those that live on.

        Args:
            epoch: 0 or more. A loaded state of another epoch is given up.
        """
        check_count("set_epoch", epoch)
        is_other = epoch != self.epoch
        self._epoch.number = epoch
        self._epoch.is_named = True
        if self._resume is not None and self._resume[EPOCH_KEY] != epoch:
            if not self._resume[ENDED_KEY] and not (self._start and self._start.has_begun):
                # A loop that counts its epochs from 0 would lose its place without a word.
                _log.warning(
                    "set_epoch(%d) gives up the loaded state, which stands in epoch %d.",
                    epoch,
                    self._resume[EPOCH_KEY],
                )
            self._resume = None
        if is_other:
            self._begin_at(self._resume)

    def state_dict(self) -> State:
        """Return where the newest iterator stands, as JSON values; at first, the start.

        Raises:
            UnsupportedStep: The dataset is distributed, and its rows come from DataLoader workers.
        """
        if self._start is not None and self._start.has_begun_in_workers and self._cursor is None:
            raise UnsupportedStep(
                "state_dict() of a dataset whose rows come from DataLoader workers: this process "
                "does not know how far they are.",
                hint="save state_after(batches), or the state of a StatefulDataLoader",
            )
        if self._resume is not None:
            return self._resume
        if self._cursor is None:
            return Cursor(self._pipeline, self.epoch, Lengths()).state()
        return self._cursor.state()

    def load_state_dict(
        self, state: State | Sequence[State] | MergedState, *, strict: bool = True
    ) -> None:
        """Let the next iteration begin behind the last row of a saved state.

        A state from the exact end of an epoch begins the next one; but of an epoch that
        ``set_epoch`` has named, before or after, nothing is left. ``distribute`` says which states
        load under other ranks; a list of the states of all ranks always does.

        Args:
            state: What ``state_dict``, ``state_after`` or ``merge_states`` returned, or a list of
                what ``state_dict`` returned on each rank, in their order.
            strict: Refuse the state when the content, view or steps differ from those it was
                saved with.

        Raises:
            StateRefused: It belongs to another pipeline; the message names what differs.
        """
        if isinstance(state, list | tuple):
            state = self._merged(state, strict=strict)
        if isinstance(state, MergedState):
            state = state.state
        worker = _worker_of(state)
        pipeline = self._pipeline.for_worker(*worker) if worker else self._pipeline
        state = self._resume = adopted(state, pipeline, strict=strict)
        if worker is not None:
            return
        named = self._epoch.is_named and self.epoch == state[EPOCH_KEY]
        is_over = bool(state[ENDED_KEY]) and not named
        self._epoch.number = state[EPOCH_KEY] + is_over
        self._begin_at(None if is_over else state)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursor": None}

    # ---- inside

    def _begun(self, batching: Batching | None) -> RowIterator:
        pipeline, epoch = self._pipeline, self.epoch
        worker = current_worker()
        if worker is not None:
            pipeline = pipeline.for_worker(*worker)
        begin = Beginning()
        if self._start is not None:
            begin = self._start.begin(None if worker is None else worker[0])
            self._warn_of_uneven_ranks(worker)
        state, self._resume = self._resume, None
        if state is not None and worker is not None and _is_of_all_ranks(state):
            # The start has it, for one pass: a copy of this dataset may begin many.
            state = None
        if state is not None:
            _check_worker(state, worker)
            if worker is not None:
                epoch = state[EPOCH_KEY]
            elif state[ENDED_KEY] and state[EPOCH_KEY] != epoch:
                state = None
        self._cursor = Cursor(pipeline, epoch, self._lengths, state, batching, begin)
        self._cursor.start, self._cursor.board = self._start, self._board
        return RowIterator(self._cursor, self._epoch, self._start)

    @property
    def _pipeline(self) -> Pipeline:
        if self._described is None:
            self._described = Pipeline(self._backend, View.whole(len(self._backend)))
        return self._described

    def _with(self, **changes: Any) -> ComposableIterableDataset:
        changed = self._fresh()
        changed._described = replace(self._pipeline, **changes)
        if changed._described.ranks is not None:
            changed._start = Start()
        return changed

    def _fresh(self) -> ComposableIterableDataset:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._lengths = Lengths(self._lengths.mode, self._lengths.reset_on_iter)
        copy._board = Board(self._board.name)
        copy._epoch = Epoch(self.epoch)
        copy._start = None if self._start is None else Start()
        copy._resume = copy._cursor = None
        return copy


def _is_of_all_ranks(state: State) -> bool:
    told = state.get(DISTRIBUTION_KEY)
    return told is not None and told[RANK_KEY] is None


def _check_worker(state: State, worker: tuple[int, int] | None) -> None:
    if state[WORKER_KEY] != (None if worker is None else list(worker)):
        raise StateRefused(
            f"The state was saved by worker {state[WORKER_KEY]} and would start in {worker} "
            "(number, of how many; None is no worker).",
            hint="resume with the number of DataLoader workers it was saved with, or distribute(): "
            "the state of state_after() fits any number",
        )


def _worker_of(state: Any) -> tuple[int, int] | None:
    worker = state.get(WORKER_KEY) if isinstance(state, dict) else None
    # What is no worker is refused with the rest of the state.
    if not isinstance(worker, list) or len(worker) != 2 or not worker[1]:
        return None
    return worker[0], worker[1]
